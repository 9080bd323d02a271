/** Who types in a room: names by user id, each with the time at which it is no longer believed. */
export type Typists = Readonly<Record<string, { readonly name: string; readonly untilMs: number }>>

/** A typist repeats the hint every three seconds; one that is lost must not end it. */
export const TYPING_BELIEVED_MS = 7_000

export function started(typists: Typists, user: string, name: string, nowMs: number): Typists {
  return { ...typists, [user]: { name, untilMs: nowMs + TYPING_BELIEVED_MS } }
}

export function stopped(typists: Typists, user: string): Typists {
  if (!(user in typists)) return typists
  return Object.fromEntries(Object.entries(typists).filter(([id]) => id !== user))
}

export function expired(typists: Typists, nowMs: number): Typists {
  const left = Object.entries(typists).filter(([, typist]) => typist.untilMs > nowMs)
  return left.length === Object.keys(typists).length ? typists : Object.fromEntries(left)
}

/** One line for people: nothing, one name, two, or "several". */
export function describeTypists(typists: Typists): string {
  const names = Object.values(typists).map((typist) => typist.name)
  if (names.length === 0) return ''
  if (names.length === 1) return `${names[0]} is typing…`
  if (names.length === 2) return `${names[0]} and ${names[1]} are typing…`
  return 'Several people are typing…'
}
