import { describe, expect, it } from 'vitest'
import { resumePoint } from '../../src/state/position'
import {
  eventApplied,
  joined,
  makeRoom,
  marked,
  memberChanged,
  pageApplied,
  readBy,
  setApart,
} from '../../src/state/room'
import type { MessageDoc } from '../../src/wire/documents'
import type { JoinAnswer } from '../../src/wire/events'
import { ALICE, BOB, message, messages, roomDoc } from '../support/documents'

function answer(documents: readonly MessageDoc[], more: Partial<JoinAnswer> = {}): JoinAnswer {
  const head = more.head ?? documents.at(-1)?.rev ?? 0
  return {
    room: roomDoc({ head }),
    messages: documents,
    outcome: 'full',
    head,
    next: head,
    members: [],
    ...more,
  }
}

const live = joined(makeRoom(roomDoc()), ALICE.id, answer(messages(1, 3)), false)

describe('joining', () => {
  it('makes a room live with the newest page', () => {
    expect(live.subscription).toBe('live')
    expect(live.timeline.messages).toHaveLength(3)
  })

  it('applies what changed when it resumes', () => {
    const changes = [message(4), message(2, { rev: 5, body: 'edited' })]
    const room = joined(setApart(live), ALICE.id, answer(changes, { head: 5 }), true)
    expect(room.timeline.messages.map((held) => held.body)).toEqual(['body 1', 'edited', 'body 3', 'body 4'])
  })

  it('forgets what it held when the answer is a reset', () => {
    const room = joined(
      setApart(live),
      ALICE.id,
      answer([message(1, { body: 'anew' })], { outcome: 'reset' }),
      true,
    )
    expect(room.timeline.messages.map((held) => held.body)).toEqual(['anew'])
    expect(room.position?.head).toBe(1)
  })

  it('catches up page by page, while events already come', () => {
    const partial = answer(messages(4, 5), { outcome: 'partial', next: 5, head: 8 })
    let room = joined(setApart(live), ALICE.id, partial, true)
    expect(room.subscription).toBe('catching_up')
    room = eventApplied(room, ALICE.id, message(9)).room
    room = pageApplied(room, ALICE.id, { messages: messages(6, 9), outcome: 'full', head: 9, next: 9 })
    expect(room.subscription).toBe('live')
    expect(room.timeline.messages.map((held) => held.seq)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9])
    expect(room.position && resumePoint(room.position)).toBe(9)
  })
})

describe('events', () => {
  it('say when one before them never came', () => {
    expect(eventApplied(live, ALICE.id, message(4)).hole).toBe(false)
    expect(eventApplied(live, ALICE.id, message(5)).hole).toBe(true)
  })

  it('count as unread when they are news by others', () => {
    const unread = (document: MessageDoc) => eventApplied(live, ALICE.id, document).room.doc.unread
    expect(unread(message(4))).toBe(1)
    expect(unread(message(4, { sender: ALICE }))).toBe(0)
    expect(unread(message(2, { rev: 4 }))).toBe(0)
  })

  it('end the typing of who has sent', () => {
    const typing = { ...live, typists: { [BOB.id]: { name: 'Bob', untilMs: Infinity } } }
    expect(eventApplied(typing, ALICE.id, message(4)).room.typists).toEqual({})
    expect(eventApplied(typing, ALICE.id, message(1, { rev: 4 })).room.typists).not.toEqual({})
  })
})

describe('recovery', () => {
  it('comes, from every cut, to what a fresh look shows', () => {
    const history: MessageDoc[] = []
    const held = new Map<number, MessageDoc>()
    for (let rev = 1; rev <= 40; rev++) {
      const of = rev % 3 === 0 ? Math.floor(rev / 2) : rev
      const document = held.has(of) ? message(of, { rev, body: `changed at ${rev}` }) : message(rev)
      held.set(document.seq, document)
      history.push(document)
    }
    const fresh = [...held.values()].sort((a, b) => a.seq - b.seq)
    for (let cut = 1; cut < 40; cut++) {
      let room = joined(makeRoom(roomDoc()), ALICE.id, answer([], { head: 0 }), false)
      for (const document of history.slice(0, cut)) room = eventApplied(room, ALICE.id, document).room
      const since = room.position === null ? -1 : resumePoint(room.position)
      expect(since).toBe(cut)
      const changes = fresh.filter((document) => document.rev > since).sort((a, b) => a.rev - b.rev)
      room = joined(setApart(room), ALICE.id, answer(changes, { head: 40, next: 40 }), true)
      expect(room.timeline.messages).toEqual(fresh)
    }
  })
})

describe('people', () => {
  it('come, rise and go in the member list', () => {
    const bob = { user: BOB, role: 'member' as const, muted_until: 0 }
    const withBob = memberChanged(live, bob)
    expect(withBob.members).toEqual([bob])
    expect(memberChanged(withBob, { ...bob, user: 'bob', role: 'moderator' }).members).toEqual([
      { ...bob, role: 'moderator' },
    ])
    expect(memberChanged(withBob, { user: 'bob', left: true }).members).toEqual([])
  })

  it('never read less than they have read', () => {
    expect(readBy(readBy(live, 'bob', 3), 'bob', 2).readers).toEqual({ bob: 3 })
    expect(marked(marked(live, 3, 0), 2, 0).doc.read_seq).toBe(3)
  })
})
