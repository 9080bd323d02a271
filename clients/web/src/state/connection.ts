import type { ErrorObject } from '../wire/errors'

/** How the page stands to the service. One value, always shown. */
export type Connection =
  | { readonly state: 'connecting' }
  | { readonly state: 'online' }
  /** It was online, and tries to be again by itself. `reason` is what the service said on leaving, if it did. */
  | { readonly state: 'reconnecting'; readonly reason: string | null }
  /** There is no network, or the connection was ended for good; only the user can change that. */
  | { readonly state: 'offline'; readonly reason: string | null }
  | { readonly state: 'refused'; readonly error: ErrorObject }

export type ConnectionEvent =
  | { readonly type: 'start' }
  | { readonly type: 'hello' }
  | { readonly type: 'closing'; readonly message: string }
  /** The transport went; `returns` says whether the client comes back by itself. */
  | { readonly type: 'lost'; readonly returns: boolean; readonly hasNetwork: boolean }
  | { readonly type: 'unreachable'; readonly hasNetwork: boolean }
  | { readonly type: 'refused'; readonly error: ErrorObject }

export interface ConnectionMemory {
  readonly shown: Connection
  /** Whether it has been online since it was started. */
  readonly wasOnline: boolean
  /** What the service said before it closed. */
  readonly farewell: string | null
}

export const FRESH: ConnectionMemory = { shown: { state: 'connecting' }, wasOnline: false, farewell: null }

export function connectionAfter(memory: ConnectionMemory, event: ConnectionEvent): ConnectionMemory {
  switch (event.type) {
    case 'start':
      return { ...FRESH, wasOnline: memory.wasOnline }
    case 'hello':
      return { shown: { state: 'online' }, wasOnline: true, farewell: null }
    case 'closing':
      return { ...memory, farewell: event.message }
    case 'lost':
      return { ...memory, shown: apart(memory, event.returns && event.hasNetwork) }
    case 'unreachable':
      return {
        ...memory,
        shown: !event.hasNetwork || memory.wasOnline ? apart(memory, event.hasNetwork) : memory.shown,
      }
    case 'refused':
      return { ...memory, shown: { state: 'refused', error: event.error } }
  }
}

function apart(memory: ConnectionMemory, returns: boolean): Connection {
  return { state: returns ? 'reconnecting' : 'offline', reason: memory.farewell }
}

export function describeConnection(connection: Connection): string {
  switch (connection.state) {
    case 'connecting':
      return 'Connecting…'
    case 'online':
      return 'Online'
    case 'reconnecting':
      return 'Reconnecting…'
    case 'offline':
      return 'Offline'
    case 'refused':
      return `Refused: ${connection.error.code}`
  }
}
