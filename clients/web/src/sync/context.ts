import type { State } from '../state/state'
import type { Store } from '../state/store'
import type { Wire } from '../wire/wire'

/** What every part that talks to the service works with. */
export interface Context {
  readonly wire: Wire
  readonly store: Store<State>
}

export function isOnline(context: Context): boolean {
  return context.store.get().connection.shown.state === 'online'
}

export function myId(context: Context): string {
  return context.store.get().me?.id ?? ''
}
