const NAME = 'hubbub.token'

/** The part of a tab that an identity is read from. */
export interface Tab {
  readonly storage: Pick<Storage, 'getItem' | 'setItem' | 'removeItem'>
  readonly hash: string
  /** Replace the fragment without a new entry in the tab's history. */
  readonly replaceHash: (hash: string) => void
}

/**
 * The token of this tab: from `#token=`, which developers use and which is taken out of the address at once, else the
 * one that the tab has kept. It lives as long as the tab, so two tabs are two guests, and a reload is the same one.
 */
export function readToken(tab: Tab): string | null {
  const fragment = new URLSearchParams(tab.hash.replace(/^#/, ''))
  const given = fragment.get('token')
  if (given === null || given === '') return tab.storage.getItem(NAME)
  tab.storage.setItem(NAME, given)
  fragment.delete('token')
  tab.replaceHash(fragment.toString())
  return given
}

export function keepToken(tab: Tab, token: string): void {
  tab.storage.setItem(NAME, token)
}

export function dropToken(tab: Tab): void {
  tab.storage.removeItem(NAME)
}

/** The room that the address names, so that a reload or a link opens it. */
export function roomInHash(hash: string): string | null {
  return new URLSearchParams(hash.replace(/^#/, '')).get('room')
}

export function hashOfRoom(room: string | null): string {
  return room === null ? '' : new URLSearchParams({ room }).toString()
}
