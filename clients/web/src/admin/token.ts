/** Apart from the chat page's own, so that an administrator may be somebody else there. */
const NAME = 'hubbub.admin.token'

type Shelf = Pick<Storage, 'getItem' | 'setItem' | 'removeItem'>

/** The token of this tab. It is kept nowhere else: not in the address, and not for the next tab. */
export function readToken(shelf: Shelf): string | null {
  return shelf.getItem(NAME)
}

export function keepToken(shelf: Shelf, token: string): void {
  shelf.setItem(NAME, token)
}

export function dropToken(shelf: Shelf): void {
  shelf.removeItem(NAME)
}

/** A token as it was pasted, without what came along: line breaks of a terminal, quotes, or the word before it. */
export function tidyToken(pasted: string): string {
  return pasted
    .replace(/\s+/gu, ' ')
    .trim()
    .replace(/^bearer /iu, '')
    .replace(/[\s"'`]/gu, '')
}

/** What keeps a text from being tried as a token, in words; null if nothing does. */
export function tokenProblem(token: string): string | null {
  if (token === '') return 'A token is needed.'
  if (!/^[\w-]+\.[\w-]+\.[\w-]+$/u.test(token))
    return 'This is no token: a token is three pieces of letters and digits with dots between them.'
  return null
}
