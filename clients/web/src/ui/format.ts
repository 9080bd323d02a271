const TIME = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' })
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'short' })
const DAY = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' })

/** How many colours there are for people; the style sheet names them `hue-0` and on. */
const HUES = 8

export const clockTime = (at: number): string => TIME.format(at)
export const fullTime = (at: number): string => FULL.format(at)

export function dayName(at: number, now: number = Date.now()): string {
  const day = 86_400_000
  if (new Date(at).toDateString() === new Date(now).toDateString()) return 'Today'
  if (new Date(at).toDateString() === new Date(now - day).toDateString()) return 'Yesterday'
  return DAY.format(at)
}

/** 1000 unread means "or more"; a badge has room for two digits. */
export const badgeText = (unread: number): string => (unread > 99 ? '99+' : String(unread))

export function initials(name: string): string {
  const words = name.trim().split(/\s+/u)
  const letters = [words[0], words.length > 1 ? words.at(-1) : ''].map((word) => [...(word ?? '')][0] ?? '')
  return letters.join('').toUpperCase()
}

/** The same person has the same colour everywhere. */
export function hueClass(userId: string): string {
  let sum = 7
  for (const char of userId) sum = (sum * 31 + (char.codePointAt(0) ?? 0)) >>> 0
  return `hue-${sum % HUES}`
}

/** Text in pieces: plain, or an address that a browser may open. Only http and https become links. */
export function linkPieces(text: string): { readonly text: string; readonly isLink: boolean }[] {
  return text
    .split(/(https?:\/\/[^\s<>"']*[^\s<>"'.,;:!?)\]])/iu)
    .map((piece, index) => ({ text: piece, isLink: index % 2 === 1 }))
    .filter((piece) => piece.text !== '')
}

const FOLDED_LINES = 5
const FOLDED_LENGTH = 300

/** The beginning of a text that is not worth its whole height: a few lines of it, at most 300 UTF-16 units. */
export function folded(text: string): string {
  const lines = text.slice(0, FOLDED_LENGTH).split('\n').slice(0, FOLDED_LINES).join('\n')
  // Half of a surrogate pair is no character.
  return lines.length === text.length ? text : `${lines.replace(/[\uD800-\uDBFF]$/, '')}…`
}
