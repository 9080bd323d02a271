import type { MessageDoc, RoomDoc, SenderDoc } from '../../src/wire/documents'

export const ALICE: SenderDoc = { id: 'alice', name: 'Alice', guest: true }
export const BOB: SenderDoc = { id: 'bob', name: 'Bob', guest: true }

/** A message as it stands after it was created at `seq`, or changed at `rev`. */
export function message(seq: number, more: Partial<MessageDoc> = {}): MessageDoc {
  return {
    id: `u1.${seq}`,
    room: 'lobby',
    seq,
    rev: seq,
    key: `key-${seq}`,
    sender: BOB,
    body: `body ${seq}`,
    reply_to: null,
    mentions: [],
    reactions: [],
    created_at: 1_700_000_000_000 + seq * 1000,
    edited_at: null,
    deleted: false,
    ...more,
  }
}

export function messages(from: number, to: number): MessageDoc[] {
  return Array.from({ length: to - from + 1 }, (_, index) => message(from + index))
}

export function roomDoc(more: Partial<RoomDoc> = {}): RoomDoc {
  return {
    id: 'lobby',
    title: 'Lobby',
    kind: 'public',
    topic: '',
    capacity: 1000,
    slow_mode_s: 0,
    created_at: 1_700_000_000_000,
    epoch: 'e1',
    head: 0,
    members: 2,
    role: 'member',
    read_seq: 0,
    unread: 0,
    ...more,
  }
}
