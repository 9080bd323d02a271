import type { LimitsDoc, RoomDoc, UserDoc } from '../wire/documents'
import { FRESH, type ConnectionMemory } from './connection'
import type { Room } from './room'

export interface Notice {
  readonly id: number
  readonly level: 'info' | 'warning' | 'error'
  readonly text: string
}

/** What a search for rooms found, or the first page of all that there are. */
export interface Found {
  readonly query: string
  readonly rooms: readonly RoomDoc[]
  readonly cursor: string | null
  readonly loading: boolean
}

/** All that the page shows, in one value that is replaced and never changed. */
export interface State {
  readonly connection: ConnectionMemory
  /** Null before the first `hello`. */
  readonly me: UserDoc | null
  /** Null before the first `hello`. */
  readonly limits: LimitsDoc | null
  /** The rooms that the user is in or was invited to, by id. */
  readonly rooms: Readonly<Record<string, Room>>
  readonly found: Found
  /** The room on the screen. */
  readonly current: string | null
  readonly notices: readonly Notice[]
}

export const INITIAL: State = {
  connection: FRESH,
  me: null,
  limits: null,
  rooms: {},
  found: { query: '', rooms: [], cursor: null, loading: false },
  current: null,
  notices: [],
}

export function withRoom(state: State, id: string, edit: (room: Room) => Room): State {
  const room = state.rooms[id]
  if (room === undefined) return state
  const next = edit(room)
  return next === room ? state : { ...state, rooms: { ...state.rooms, [id]: next } }
}

export function withEveryRoom(state: State, edit: (room: Room) => Room): State {
  return Object.keys(state.rooms).reduce((next, id) => withRoom(next, id, edit), state)
}

export function withoutRoom(state: State, id: string): State {
  const rooms = Object.fromEntries(Object.entries(state.rooms).filter(([key]) => key !== id))
  return { ...state, rooms, current: state.current === id ? null : state.current }
}
