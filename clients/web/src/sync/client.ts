import type { Socket } from 'socket.io-client'
import { expired } from '../state/typing'
import { INITIAL, withEveryRoom, withoutRoom, withRoom, type State } from '../state/state'
import { Store } from '../state/store'
import type { LimitsDoc, RoomDoc, UserDoc } from '../wire/documents'
import { explain } from '../wire/errors'
import { SocketWire } from '../wire/socket'
import type { OutboxShelf } from '../session/shelf'
import type { Context } from './context'
import { Directory } from './directory'
import { Link, type LinkHooks } from './link'
import { Messages } from './messages'
import { dismiss, notify } from './notices'
import { listen } from './pushes'
import { Reader } from './reader'
import { Sender } from './sender'
import { Subscriber } from './subscriber'
import { Typist } from './typist'

const TYPISTS_CHECKED_MS = 1_000

/** Everything that the page can do once it has a token. One per token; `stop` ends it. */
export class Client {
  readonly store = new Store<State>(INITIAL)
  readonly link: Link<State>
  readonly directory: Directory
  readonly sender: Sender
  readonly messages: Messages
  readonly reader: Reader
  readonly typist: Typist
  private readonly subscriber: Subscriber
  private readonly context: Context
  private readonly clock: ReturnType<typeof setInterval>

  constructor(
    socket: Socket,
    private readonly shelf: OutboxShelf,
    onIdentityLost: LinkHooks['onIdentityLost'],
    /** The room to open once the service has said hello. */
    private firstRoom: string | null = null,
  ) {
    this.context = { wire: new SocketWire(socket), store: this.store }
    this.sender = new Sender(this.context)
    this.subscriber = new Subscriber(this.context, (room) => void this.sender.flush(room))
    this.directory = new Directory(this.context, (room) =>
      this.shelf.take(this.store.get().me?.id ?? '', room),
    )
    this.messages = new Messages(this.context)
    this.reader = new Reader(this.context)
    this.typist = new Typist(this.context)
    this.link = new Link(socket, this.store, { onApart: () => this.setApart(), onIdentityLost })
    this.context.wire.on('hello', ({ user, limits }) => void this.greeted(user, limits))
    this.context.wire.on('closing', (closing) => this.link.announced(closing))
    listen(this.context, this.subscriber, this.directory)
    this.store.subscribe(() => this.keepOutboxes())
    this.clock = setInterval(() => this.forgetTypists(), TYPISTS_CHECKED_MS)
  }

  stop(): void {
    clearInterval(this.clock)
    this.link.stop()
  }

  /** Show a room and join it. A room that is known by its id alone gets its document with the join. */
  open(id: string, doc?: RoomDoc): void {
    this.typist.stop()
    if (this.store.get().rooms[id] === undefined) this.directory.add(doc ?? unknownRoom(id))
    this.store.update((state) => {
      const next = withRoom(state, id, (room) => ({
        ...room,
        newAfter: room.doc.unread > 0 ? room.doc.read_seq : null,
      }))
      return { ...next, current: id }
    })
    void this.subscriber.join(id)
  }

  /** Back to the list of rooms; the room stays joined. */
  close(): void {
    this.typist.stop()
    this.store.update((state) => ({ ...state, current: null }))
  }

  async leave(id: string): Promise<void> {
    const result = await this.context.wire.call('room:leave', { room: id })
    if (!result.ok) return notify(this.store, 'error', explain(result.error))
    this.store.update((state) => withoutRoom(state, id))
    void this.directory.search(this.store.get().found.query)
  }

  dismiss(notice: number): void {
    dismiss(this.store, notice)
  }

  private async greeted(me: UserDoc, limits: LimitsDoc): Promise<void> {
    this.store.update((state) => ({ ...state, me, limits }))
    this.link.greeted()
    if (this.firstRoom !== null) this.open(this.firstRoom)
    this.firstRoom = null
    const joinedBefore = Object.values(this.store.get().rooms).filter((room) => room.position !== null)
    const wanted = new Set(joinedBefore.map((room) => room.doc.id))
    const { current, found } = this.store.get()
    if (current !== null) wanted.add(current)
    for (const id of wanted) void this.subscriber.join(id)
    void this.directory.search(found.query)
    if (await this.directory.readMine()) this.joinThoseWithMail()
  }

  /** Rooms in which an earlier life of this page has left something unsent. */
  private joinThoseWithMail(): void {
    for (const room of Object.values(this.store.get().rooms)) {
      if (room.outbox.length > 0) void this.subscriber.join(room.doc.id)
    }
  }

  private setApart(): void {
    for (const id of Object.keys(this.store.get().rooms)) this.subscriber.setApart(id)
  }

  private keepOutboxes(): void {
    const { me, rooms } = this.store.get()
    if (me !== null) this.shelf.keep(me.id, rooms)
  }

  private forgetTypists(): void {
    const nowMs = Date.now()
    this.store.update((state) =>
      withEveryRoom(state, (room) => {
        const typists = expired(room.typists, nowMs)
        return typists === room.typists ? room : { ...room, typists }
      }),
    )
  }
}

function unknownRoom(id: string): RoomDoc {
  const empty = { topic: '', capacity: 0, slow_mode_s: 0, created_at: 0, epoch: '', head: 0, members: 0 }
  return { id, title: id, kind: 'public', ...empty, role: null, read_seq: 0, unread: 0 }
}
