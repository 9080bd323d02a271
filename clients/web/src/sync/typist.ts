import type { Context } from './context'

/** Others believe in a typist for longer than this, so that one lost hint is not seen. */
const REPEAT_MS = 3_000
/** Who has stopped for this long is not typing any more. */
const IDLE_MS = 5_000

/** Says that the user is typing: at most once in three seconds, and once that it is over. */
export class Typist {
  private room: string | null = null
  private saidAtMs = -Infinity
  private idle: ReturnType<typeof setTimeout> | undefined

  constructor(private readonly context: Context) {}

  typed(room: string): void {
    if (this.room !== room) this.stop()
    clearTimeout(this.idle)
    this.idle = setTimeout(() => this.stop(), IDLE_MS)
    const nowMs = Date.now()
    if (this.room === room && nowMs - this.saidAtMs < REPEAT_MS) return
    this.room = room
    this.saidAtMs = nowMs
    this.context.wire.hint('typing', { room, on: true })
  }

  stop(): void {
    clearTimeout(this.idle)
    if (this.room === null) return
    this.context.wire.hint('typing', { room: this.room, on: false })
    this.room = null
    this.saidAtMs = -Infinity
  }
}
