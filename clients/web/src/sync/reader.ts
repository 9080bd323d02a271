import { marked } from '../state/room'
import { withRoom } from '../state/state'
import type { Context } from './context'

/** Messages that come close together are marked by one call. */
const GATHER_MS = 300

/** Tells the service how far the user has read. */
export class Reader {
  private readonly timers = new Map<string, ReturnType<typeof setTimeout>>()

  constructor(private readonly context: Context) {}

  /** The user sees the message at `seq` and everything before it. */
  seen(id: string, seq: number): void {
    const room = this.context.store.get().rooms[id]
    if (room === undefined || room.subscription !== 'live') return
    if (room.doc.read_seq >= seq && room.doc.unread === 0) return
    this.context.store.update((state) => withRoom(state, id, (held) => marked(held, seq, 0)))
    clearTimeout(this.timers.get(id))
    this.timers.set(
      id,
      setTimeout(() => void this.mark(id, seq), GATHER_MS),
    )
  }

  private async mark(id: string, seq: number): Promise<void> {
    this.timers.delete(id)
    const result = await this.context.wire.call('read:mark', { room: id, seq })
    if (!result.ok || this.timers.has(id)) return
    const { read_seq, unread } = result.data
    this.context.store.update((state) => withRoom(state, id, (room) => marked(room, read_seq, unread)))
  }
}
