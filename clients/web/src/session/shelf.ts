import { makeEntry, type Outbox, type OutboxEntry } from '../state/outbox'
import type { Room } from '../state/room'
import { isRecord } from '../wire/errors'

const NAME = 'hubbub.outbox'

type Outboxes = Readonly<Record<string, Outbox>>

/** Keeps outboxes over a reload of the tab, so that what was written is sent after it, under the same keys. */
export class OutboxShelf {
  /** What an earlier life of the page left, until its room is there to take it. */
  private waiting: Outboxes | null = null
  private lastKept: Outboxes = {}

  constructor(private readonly storage: Pick<Storage, 'getItem' | 'setItem'>) {}

  keep(user: string, rooms: Readonly<Record<string, Room>>): void {
    const outboxes: Record<string, Outbox> = { ...this.left(user) }
    for (const room of Object.values(rooms)) if (room.outbox.length > 0) outboxes[room.doc.id] = room.outbox
    if (sameOutboxes(outboxes, this.lastKept)) return
    this.lastKept = outboxes
    try {
      this.storage.setItem(NAME, JSON.stringify({ user, outboxes }))
    } catch {
      // A browser keeps a few megabytes for a tab. What is more than that does not survive a reload; the page goes on.
    }
  }

  /** Hand what the user had left to send to a room over to the caller. */
  take(user: string, room: string): Outbox {
    const { [room]: outbox, ...others } = this.left(user)
    this.waiting = others
    return outbox ?? []
  }

  private left(user: string): Outboxes {
    this.waiting ??= readOutboxes(this.storage.getItem(NAME), user)
    return this.waiting
  }
}

function readOutboxes(text: string | null, user: string): Outboxes {
  const kept = parse(text)
  if (!isRecord(kept) || kept['user'] !== user || !isRecord(kept['outboxes'])) return {}
  const outboxes: Record<string, Outbox> = {}
  for (const [room, entries] of Object.entries(kept['outboxes'])) {
    if (Array.isArray(entries)) outboxes[room] = entries.filter(isEntry).map(whole)
  }
  return outboxes
}

function parse(text: string | null): unknown {
  try {
    return JSON.parse(text ?? 'null')
  } catch {
    return null
  }
}

function sameOutboxes(a: Outboxes, b: Outboxes): boolean {
  const rooms = Object.keys(a)
  return rooms.length === Object.keys(b).length && rooms.every((room) => a[room] === b[room])
}

/** An entry that an older page kept may lack what this one counts. */
function whole(entry: OutboxEntry): OutboxEntry {
  return { ...makeEntry(entry.key, entry.body, null, 0), ...entry }
}

function isEntry(value: unknown): value is OutboxEntry {
  return isRecord(value) && typeof value['key'] === 'string' && typeof value['body'] === 'string'
}
