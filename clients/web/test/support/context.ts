import { makeRoom, type Room } from '../../src/state/room'
import { INITIAL, type State } from '../../src/state/state'
import { Store } from '../../src/state/store'
import type { Context } from '../../src/sync/context'
import { ALICE, roomDoc } from './documents'
import { FakeService } from './fakeservice'

/** Alice, online, with the room "lobby" not yet joined. */
export function makeContext(): Context & {
  wire: FakeService
  room: () => Room
  goOffline: () => void
  goOnline: () => void
} {
  const store = new Store<State>({
    ...INITIAL,
    connection: { shown: { state: 'online' }, wasOnline: true, farewell: null },
    me: ALICE,
    rooms: { lobby: makeRoom(roomDoc()) },
    current: 'lobby',
  })
  const room = () => {
    const held = store.get().rooms['lobby']
    if (held === undefined) throw new Error('The lobby is gone.')
    return held
  }
  const goOffline = () =>
    store.update((state) => ({
      ...state,
      connection: { ...state.connection, shown: { state: 'reconnecting', reason: null } },
    }))
  const goOnline = () =>
    store.update((state) => ({ ...state, connection: { ...state.connection, shown: { state: 'online' } } }))
  return { wire: new FakeService(), store, room, goOffline, goOnline }
}

export const bodies = (room: Room): string[] => room.timeline.messages.map((message) => message.body)
