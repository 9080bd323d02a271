import type { MemberDoc, MessageDoc, RoomDoc, SharedRoomDoc } from '../wire/documents'
import { userId } from '../wire/documents'
import type { ErrorObject } from '../wire/errors'
import type { JoinAnswer, SyncAnswer } from '../wire/events'
import { withoutStored, type Outbox } from './outbox'
import { leavesHole, openAt, withEvent, withPage, type Position } from './position'
import { apply, EMPTY_TIMELINE, fromNewestPage, prepend, trim, type Timeline } from './timeline'
import { stopped, type Typists } from './typing'

/**
 * `apart`: this connection is not subscribed. `joining`: asked. `catching_up`: subscribed, pages are still to come.
 * `live`: all there.
 */
export type Subscription = 'apart' | 'joining' | 'catching_up' | 'live'

/** A room as the page knows it. Every function below is pure and returns the room as it stands then. */
export interface Room {
  readonly doc: RoomDoc
  readonly subscription: Subscription
  /** Null until the first join: there is nothing to resume. */
  readonly position: Position | null
  readonly timeline: Timeline
  readonly loadingBefore: boolean
  readonly outbox: Outbox
  readonly typists: Typists
  /** Null where the room is too large for a list, or not joined yet. */
  readonly members: readonly MemberDoc[] | null
  /** How far others have read, by user. */
  readonly readers: Readonly<Record<string, number>>
  /** Where the line "new" is drawn: the read mark when the room was opened; null for no line. */
  readonly newAfter: number | null
  readonly mentioned: boolean
  /** Why the last join was refused. */
  readonly error: ErrorObject | null
}

/** More than this many messages are not kept for a reader who follows the newest. */
const MOST_KEPT = 400

export function makeRoom(doc: RoomDoc, outbox: Outbox = []): Room {
  return {
    doc,
    subscription: 'apart',
    position: null,
    timeline: EMPTY_TIMELINE,
    loadingBefore: false,
    outbox,
    typists: {},
    members: null,
    readers: {},
    newAfter: null,
    mentioned: false,
    error: null,
  }
}

/** A room document as the service has it now. What is of the asking user is kept where the document lacks it. */
export function withDoc(room: Room, doc: RoomDoc | SharedRoomDoc): Room {
  return { ...room, doc: { ...room.doc, ...doc } }
}

/** The ack of a join. After `full` or `partial` its messages are changes; else they are the newest page. */
export function joined(room: Room, me: string, answer: JoinAnswer, resumed: boolean): Room {
  const continues = resumed && answer.outcome !== 'reset'
  const position = openAt(answer.room.epoch, answer.next, answer.head)
  const next: Room = {
    ...withDoc(room, answer.room),
    subscription: answer.next >= answer.head ? 'live' : 'catching_up',
    position,
    timeline: continues ? apply(room.timeline, answer.messages) : fromNewestPage(answer.messages),
    members: answer.members,
    error: null,
  }
  return withStored(next, me, answer.messages)
}

/** A page of `history:sync` on the way to the head that the join named. */
export function pageApplied(room: Room, me: string, answer: SyncAnswer): Room {
  if (room.position === null) return room
  const position = withPage(room.position, answer.next)
  return withStored(
    {
      ...room,
      position,
      timeline: apply(room.timeline, answer.messages),
      subscription: position.paged >= position.head ? 'live' : room.subscription,
    },
    me,
    answer.messages,
  )
}

/** A `message` event. `hole` says that a revision before it never came, so that the room must be joined again. */
export function eventApplied(room: Room, me: string, document: MessageDoc): { room: Room; hole: boolean } {
  const { position } = room
  if (position === null) return { room, hole: false }
  const hole = leavesHole(position, document.rev)
  const isNews =
    document.rev === document.seq && document.sender.id !== me && document.seq > room.doc.read_seq
  const next: Room = {
    ...room,
    position: withEvent(position, document.rev),
    timeline: apply(room.timeline, [document]),
    typists: document.rev === document.seq ? stopped(room.typists, document.sender.id) : room.typists,
    mentioned: room.mentioned || (isNews && document.mentions.includes(me)),
    doc: {
      ...room.doc,
      head: Math.max(room.doc.head, document.rev),
      unread: isNews ? Math.min(room.doc.unread + 1, 1000) : room.doc.unread,
    },
  }
  return { room: withStored(next, me, [document]), hole }
}

/** A document from an ack: it is applied, but does not move the position, which belongs to events. */
export function documentApplied(room: Room, me: string, document: MessageDoc): Room {
  return withStored({ ...room, timeline: apply(room.timeline, [document]) }, me, [document])
}

export function olderApplied(room: Room, page: readonly MessageDoc[], moreBefore: boolean): Room {
  return { ...room, loadingBefore: false, timeline: prepend(room.timeline, page, moreBefore) }
}

/** The reader follows the newest messages, so the oldest held can go. */
export function trimmed(room: Room): Room {
  const timeline = trim(room.timeline, MOST_KEPT)
  return timeline === room.timeline ? room : { ...room, timeline }
}

/** The connection, or only this room's subscription, is gone; what was typed there is not known any more. */
export function setApart(room: Room): Room {
  return room.subscription === 'apart' ? room : { ...room, subscription: 'apart', typists: {} }
}

export function marked(room: Room, readSeq: number, unread: number): Room {
  const doc = { ...room.doc, read_seq: Math.max(room.doc.read_seq, readSeq), unread }
  return { ...room, doc, mentioned: unread > 0 && room.mentioned }
}

export function readBy(room: Room, user: string, seq: number): Room {
  return { ...room, readers: { ...room.readers, [user]: Math.max(seq, room.readers[user] ?? 0) } }
}

/** A `member` event. Where there is a list the count is its length; the service sends no other word of it. */
export function memberChanged(room: Room, change: MemberDoc | { user: MemberDoc['user']; left: true }): Room {
  const id = userId(change.user)
  const hasLeft = 'left' in change
  const typists = hasLeft ? stopped(room.typists, id) : room.typists
  if (room.members === null) {
    const doc = { ...room.doc, members: Math.max(0, room.doc.members - (hasLeft ? 1 : 0)) }
    return { ...room, doc, typists }
  }
  const others = room.members.filter((held) => userId(held.user) !== id)
  const before = room.members.find((held) => userId(held.user) === id)
  const members = hasLeft
    ? others
    : [...others, before === undefined ? change : { ...before, role: change.role }]
  return { ...room, members, typists, doc: { ...room.doc, members: members.length } }
}

function withStored(room: Room, me: string, documents: readonly MessageDoc[]): Room {
  const outbox = withoutStored(room.outbox, me, documents)
  return outbox === room.outbox ? room : { ...room, outbox }
}
