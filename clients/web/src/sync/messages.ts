import { isLonger } from '../state/length'
import { documentApplied, olderApplied, trimmed } from '../state/room'
import { withRoom } from '../state/state'
import { hasMoreBefore } from '../state/timeline'
import type { MessageDoc } from '../wire/documents'
import { explain, TOO_LONG } from '../wire/errors'
import type { Result } from '../wire/wire'
import { myId, type Context } from './context'
import { notify } from './notices'

const OLDER_PAGE = 50

/** What can be done to messages that are there: change them, and read older ones. */
export class Messages {
  constructor(private readonly context: Context) {}

  /** Returns whether it was done; `rev` is given so that nobody overwrites what they have not seen. */
  async edit(message: MessageDoc, body: string): Promise<boolean> {
    if (!this.fits(body)) {
      notify(this.context.store, 'error', explain(TOO_LONG))
      return false
    }
    const { id, room, rev } = message
    return this.changed(room, await this.context.wire.call('message:edit', { room, id, body, rev }))
  }

  /** Whether a body is within the service's limit: the frame of one that is not would end the connection. */
  fits(body: string): boolean {
    const { limits } = this.context.store.get()
    return limits === null || !isLonger(body, limits.body)
  }

  async remove({ room, id }: MessageDoc): Promise<boolean> {
    return this.changed(room, await this.context.wire.call('message:delete', { room, id }))
  }

  async react({ room, id }: MessageDoc, emoji: string, on: boolean): Promise<boolean> {
    return this.changed(room, await this.context.wire.call('message:react', { room, id, emoji, on }))
  }

  async loadOlder(id: string): Promise<void> {
    const { store, wire } = this.context
    const room = store.get().rooms[id]
    if (room === undefined || room.loadingBefore || !hasMoreBefore(room.timeline)) return
    const { floor } = room.timeline
    store.update((state) => withRoom(state, id, (held) => ({ ...held, loadingBefore: true })))
    const result = await wire.call('history:fetch', { room: id, before: floor, limit: OLDER_PAGE })
    store.update((state) =>
      withRoom(state, id, (held) => {
        // A room that was joined anew meanwhile holds another run of messages, which this page does not continue.
        const fits = result.ok && held.timeline.floor === floor
        if (!fits) return { ...held, loadingBefore: false }
        return olderApplied(held, result.data.messages, result.data.more_before)
      }),
    )
  }

  trim(id: string): void {
    this.context.store.update((state) => withRoom(state, id, trimmed))
  }

  private changed(room: string, result: Result<{ message: MessageDoc }>): boolean {
    const { store } = this.context
    if (result.ok) {
      const { message } = result.data
      store.update((state) =>
        withRoom(state, room, (held) => documentApplied(held, myId(this.context), message)),
      )
    } else if (result.error.code === 'conflict') {
      notify(store, 'warning', 'The message was changed meanwhile; look at it and try again.')
    } else {
      notify(store, 'error', explain(result.error))
    }
    return result.ok
  }
}
