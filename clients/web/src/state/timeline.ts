import type { MessageDoc } from '../wire/documents'

/**
 * The part of a room's history that the page holds: one unbroken run of messages, ascending by `seq`, that ends at the
 * newest. `floor` is the `seq` from which on nothing is missing; messages below it are somewhere in the history and
 * come, as they then stand, when the reader scrolls up to them.
 */
export interface Timeline {
  readonly messages: readonly MessageDoc[]
  readonly floor: number
}

export const EMPTY_TIMELINE: Timeline = { messages: [], floor: Infinity }

/** The newest page of a room. The first message of every room has the seq 1. */
export function fromNewestPage(messages: readonly MessageDoc[]): Timeline {
  const sorted = [...messages].sort((a, b) => a.seq - b.seq)
  return { messages: sorted, floor: sorted[0]?.seq ?? 0 }
}

export function hasMoreBefore(timeline: Timeline): boolean {
  return timeline.floor > 1 && timeline.floor !== Infinity
}

/** Apply documents as they come: each counts only if its `rev` is higher than the one held for its `id`. */
export function apply(timeline: Timeline, documents: readonly MessageDoc[]): Timeline {
  let messages: MessageDoc[] | undefined
  for (const document of documents) {
    if (document.seq < timeline.floor) continue
    const held = messages ?? timeline.messages
    const at = placeOf(held, document.seq)
    const there = held[at]
    const isThere = there?.seq === document.seq
    if (isThere && there.rev >= document.rev) continue
    messages ??= [...timeline.messages]
    messages.splice(at, isThere ? 1 : 0, document)
  }
  return messages === undefined ? timeline : { ...timeline, messages }
}

/** Put a page of older messages before those held. */
export function prepend(timeline: Timeline, page: readonly MessageDoc[], moreBefore: boolean): Timeline {
  const lowest = page.reduce((least, document) => Math.min(least, document.seq), timeline.floor)
  return apply({ ...timeline, floor: moreBefore ? lowest : 0 }, page)
}

/** Let go of the oldest messages beyond `most`; they can be fetched again. */
export function trim(timeline: Timeline, most: number): Timeline {
  if (timeline.messages.length <= most) return timeline
  const messages = timeline.messages.slice(-most)
  return { messages, floor: messages[0]?.seq ?? timeline.floor }
}

export function newestSeq(timeline: Timeline): number {
  return timeline.messages.at(-1)?.seq ?? 0
}

export function messageById(timeline: Timeline, id: string): MessageDoc | undefined {
  return timeline.messages.find((message) => message.id === id)
}

/** Where a message of this seq stands, or would stand. News is at the end, so the search begins there. */
function placeOf(messages: readonly MessageDoc[], seq: number): number {
  const last = messages.at(-1)
  if (last === undefined || last.seq < seq) return messages.length
  let low = 0
  let high = messages.length - 1
  while (low < high) {
    const middle = (low + high) >> 1
    if ((messages[middle]?.seq ?? 0) < seq) low = middle + 1
    else high = middle
  }
  return low
}
