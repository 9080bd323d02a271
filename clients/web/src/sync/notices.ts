import type { Notice, State } from '../state/state'
import type { Store } from '../state/store'

/** More than this many would cover what they speak of. */
const MOST_SHOWN = 4

/** An information goes by itself after this time; a warning stays until it is dismissed. */
const INFO_SHOWN_MS = 8_000

let lastId = 0

/** Show a line of text to the user. The same text is not shown twice at a time. */
export function notify(store: Store<State>, level: Notice['level'], text: string): void {
  if (store.get().notices.some((notice) => notice.text === text)) return
  const notice: Notice = { id: ++lastId, level, text }
  store.update((state) => ({ ...state, notices: [...state.notices, notice].slice(-MOST_SHOWN) }))
  if (level === 'info') setTimeout(() => dismiss(store, notice.id), INFO_SHOWN_MS)
}

export function dismiss(store: Store<State>, id: number): void {
  store.update((state) => ({ ...state, notices: state.notices.filter((notice) => notice.id !== id) }))
}
