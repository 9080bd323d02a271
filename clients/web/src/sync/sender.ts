import {
  lost,
  makeEntry,
  nextEntry,
  refused,
  retried,
  settled,
  withTooLongFailed,
  type OutboxEntry,
} from '../state/outbox'
import { documentApplied, type Room } from '../state/room'
import { withRoom } from '../state/state'
import type { Calls } from '../wire/events'
import { retryDelayMs, wait } from './backoff'
import { isOnline, myId, type Context } from './context'

/**
 * Empties outboxes: one message of a room at a time, in the order of writing, each again and again under its key until
 * the service has acknowledged or refused it. What cannot be sent is failed here and does not hold up the rest.
 */
export class Sender {
  /** The rooms whose outbox is being emptied. */
  private readonly busy = new Set<string>()
  /** Cut short the waits of rooms between two attempts. */
  private readonly hurry = new Map<string, () => void>()

  constructor(
    private readonly context: Context,
    private readonly makeKey: () => string = () => crypto.randomUUID(),
  ) {}

  post(room: string, body: string, replyTo: string | null): void {
    const entry = makeEntry(this.makeKey(), body, replyTo, Date.now())
    this.edit(room, (held) => ({ ...held, outbox: [...held.outbox, entry] }))
    void this.flush(room)
  }

  retry(room: string, key: string): void {
    this.edit(room, (held) => ({ ...held, outbox: retried(held.outbox, key) }))
    void this.flush(room)
  }

  discard(room: string, key: string): void {
    this.edit(room, (held) => ({ ...held, outbox: settled(held.outbox, key) }))
  }

  /** Send what waits, as long as the room is subscribed. To be called again whenever it has become so. */
  async flush(id: string): Promise<void> {
    this.failTooLong(id)
    if (this.busy.has(id)) {
      this.hurry.get(id)?.()
      return
    }
    this.busy.add(id)
    try {
      for (let entry = this.next(id); entry !== undefined; entry = this.next(id)) await this.send(id, entry)
    } finally {
      this.busy.delete(id)
    }
  }

  private async send(id: string, entry: OutboxEntry): Promise<void> {
    const result = await this.context.wire.call('message:send', sendRequest(id, entry))
    if (result.ok) {
      this.edit(id, (room) => documentApplied(room, myId(this.context), result.data.message))
      this.discard(id, entry.key)
      return
    }
    const { error } = result
    if (error.code === 'no_answer' && !isOnline(this.context)) {
      return this.edit(id, (room) => ({ ...room, outbox: lost(room.outbox, entry.key) }))
    }
    if (!this.isSubscribed(id)) return
    this.edit(id, (room) => ({ ...room, outbox: refused(room.outbox, entry.key, error) }))
    if (error.retryable) await this.pause(id, entry.attempts, error.retry_after)
  }

  /** At once, whether the room is subscribed or not, so that nobody waits for what will never go. */
  private failTooLong(id: string): void {
    const { limits } = this.context.store.get()
    if (limits === null) return
    this.edit(id, (room) => {
      const outbox = withTooLongFailed(room.outbox, limits.body)
      return outbox === room.outbox ? room : { ...room, outbox }
    })
  }

  /** A wait that the service asked for is kept; one of our own ends when there is a reason to hope. */
  private async pause(id: string, attempts: number, retryAfterS?: number): Promise<void> {
    const waits = [wait(retryDelayMs(attempts, retryAfterS))]
    if (retryAfterS === undefined) waits.push(new Promise((resolve) => this.hurry.set(id, resolve)))
    await Promise.race(waits)
    this.hurry.delete(id)
  }

  private next(id: string): OutboxEntry | undefined {
    return this.isSubscribed(id) ? nextEntry(this.room(id)?.outbox ?? []) : undefined
  }

  private isSubscribed(id: string): boolean {
    const subscription = this.room(id)?.subscription
    return subscription === 'live' || subscription === 'catching_up'
  }

  private room(id: string): Room | undefined {
    return this.context.store.get().rooms[id]
  }

  private edit(id: string, edit: (room: Room) => Room): void {
    this.context.store.update((state) => withRoom(state, id, edit))
  }
}

function sendRequest(room: string, entry: OutboxEntry): Calls['message:send']['request'] {
  const request = { room, key: entry.key, body: entry.body }
  return entry.replyTo === null ? request : { ...request, reply_to: entry.replyTo }
}
