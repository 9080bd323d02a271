import { FRESH, type ConnectionMemory } from '../state/connection'
import type { UserDoc } from '../wire/documents'
import type { ErrorObject } from '../wire/errors'
import type { Figures } from './events'

/** What the page last said about what was done. `id` tells two alike apart. */
export interface Said {
  readonly id: number
  readonly text: string
}

export interface AdminState {
  readonly connection: ConnectionMemory
  readonly me: UserDoc | null
  readonly node: string
  readonly version: string
  /** The last figures that came; they are not taken away while the page is apart. */
  readonly stats: Figures | null
  /** Why no figures come. */
  readonly statsError: ErrorObject | null
  readonly said: Said | null
  /** When the token ends, if that is soon. */
  readonly tokenEndsAt: number | null
}

export const INITIAL: AdminState = {
  connection: FRESH,
  me: null,
  node: '',
  version: '',
  stats: null,
  statsError: null,
  said: null,
  tokenEndsAt: null,
}
