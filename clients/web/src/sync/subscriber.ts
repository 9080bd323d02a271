import { isCaughtUp, resumePoint, type Position } from '../state/position'
import { joined, pageApplied, setApart, type Room } from '../state/room'
import { withoutRoom, withRoom } from '../state/state'
import { explain, type ErrorObject } from '../wire/errors'
import type { Calls } from '../wire/events'
import { retryDelayMs, wait } from './backoff'
import { isOnline, myId, type Context } from './context'
import { notify } from './notices'

const FIRST_PAGE = 50
const SYNC_PAGE = 200

/** Joins rooms and brings them up to date: after opening, after a reconnect, after a `gap`. */
export class Subscriber {
  /** Raised whenever a room is set apart, so that answers to what was asked before are not applied. */
  private readonly rounds = new Map<string, number>()

  constructor(
    private readonly context: Context,
    private readonly onLive: (room: string) => void,
  ) {}

  /** Join a room that is apart. Does nothing for one that is joined, or about to be. */
  async join(id: string): Promise<void> {
    const room = this.room(id)
    if (room === undefined || room.subscription !== 'apart' || !isOnline(this.context)) return
    this.edit(id, (held) => ({ ...held, subscription: 'joining' }))
    const round = this.rounds.get(id) ?? 0
    const result = await this.context.wire.call('room:join', joinRequest(id, room.position))
    if (this.isStale(id, round)) return
    if (!result.ok) return this.failed(id, result.error)
    const resumed = room.position !== null
    this.edit(id, (held) => joined(held, myId(this.context), result.data, resumed))
    await this.catchUp(id, round)
  }

  /** The subscription is gone: what is asked for it now will be answered to nobody. */
  setApart(id: string): void {
    this.rounds.set(id, (this.rounds.get(id) ?? 0) + 1)
    this.edit(id, setApart)
  }

  /** The subscription has a hole, or was suspended: join again from the last revision known without one. */
  async rejoin(id: string): Promise<void> {
    this.setApart(id)
    await this.join(id)
  }

  private async catchUp(id: string, round: number): Promise<void> {
    for (let attempts = 0; ;) {
      const position = this.room(id)?.position
      if (position === undefined || position === null || this.isStale(id, round)) return
      if (isCaughtUp(position)) return this.onLive(id)
      const request = { room: id, since: position.paged, epoch: position.epoch, limit: SYNC_PAGE }
      const result = await this.context.wire.call('history:sync', request)
      if (this.isStale(id, round)) return
      if (!result.ok) {
        if (!result.error.retryable) return this.failed(id, result.error)
        await wait(retryDelayMs(attempts++, result.error.retry_after))
        continue
      }
      const stuck = result.data.next <= position.paged
      if (result.data.outcome === 'reset' || stuck) return this.startOver(id)
      attempts = 0
      this.edit(id, (held) => pageApplied(held, myId(this.context), result.data))
    }
  }

  /** What is held continues nothing that the service has: forget it and read the newest page. */
  private async startOver(id: string): Promise<void> {
    this.edit(id, (held) => ({ ...held, position: null }))
    await this.rejoin(id)
  }

  private async failed(id: string, error: ErrorObject): Promise<void> {
    this.setApart(id)
    const room = this.room(id)
    if (room === undefined || !isOnline(this.context)) return
    if (error.retryable) {
      const round = this.rounds.get(id) ?? 0
      await wait(retryDelayMs(2, error.retry_after))
      if (!this.isStale(id, round)) await this.join(id)
    } else if (room.doc.role === null || room.doc.role === 'invited' || error.code === 'not_found') {
      this.context.store.update((state) => withoutRoom(state, id))
      notify(this.context.store, 'error', `${room.doc.title}: ${explain(error)}`)
    } else {
      this.edit(id, (held) => ({ ...held, error }))
    }
  }

  private isStale(id: string, round: number): boolean {
    return (this.rounds.get(id) ?? 0) !== round || this.room(id) === undefined
  }

  private room(id: string): Room | undefined {
    return this.context.store.get().rooms[id]
  }

  private edit(id: string, edit: (room: Room) => Room): void {
    this.context.store.update((state) => withRoom(state, id, edit))
  }
}

function joinRequest(room: string, position: Position | null): Calls['room:join']['request'] {
  if (position === null) return { room, limit: FIRST_PAGE }
  return { room, since: resumePoint(position), epoch: position.epoch, limit: SYNC_PAGE }
}
