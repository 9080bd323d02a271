/**
 * How far a room's changes are known here without a hole.
 *
 * The ack of a join opens a position: pages carry it from `paged` to `head`, while the room's events begin at
 * `head + 1` and rise by one. Both may run side by side, so the point to resume from is the end of the pages until
 * they have reached `head`, and from then on the last event.
 */
export interface Position {
  readonly epoch: string
  /** The revision up to which pages have been applied. */
  readonly paged: number
  /** The head that the join named: pages are needed up to it. */
  readonly head: number
  /** The last revision that came as an event; `head` before the first. */
  readonly live: number
}

export function openAt(epoch: string, next: number, head: number): Position {
  return { epoch, paged: next, head, live: head }
}

export function isCaughtUp(position: Position): boolean {
  return position.paged >= position.head
}

/** What to give as `since`: everything up to it, and nothing known only in part, is here. */
export function resumePoint(position: Position): number {
  return isCaughtUp(position) ? Math.max(position.live, position.paged) : position.paged
}

export function withPage(position: Position, next: number): Position {
  return { ...position, paged: Math.max(position.paged, next) }
}

/** An event of this revision came. One that skips a revision is not counted, so that a resume fills the hole. */
export function withEvent(position: Position, rev: number): Position {
  return rev === position.live + 1 ? { ...position, live: rev } : position
}

/** Whether an event of this revision leaves a hole behind it; the service promises that none does. */
export function leavesHole(position: Position, rev: number): boolean {
  return rev > position.live + 1
}
