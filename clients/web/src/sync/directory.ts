import { makeRoom, withDoc, type Room } from '../state/room'
import { withRoom, type State } from '../state/state'
import type { OutboxEntry } from '../state/outbox'
import type { RoomDoc } from '../wire/documents'
import type { Result } from '../wire/wire'
import { type Context } from './context'

const PAGE = 50
/** A list of own rooms ends here, however many pages the service has. */
const MOST_PAGES = 10
/** `activity` may come for many rooms at once; one listing answers for all. */
const REFRESH_MS = 1_500

/** Knows which rooms there are: the user's own, and those that a search finds. */
export class Directory {
  private refresh: ReturnType<typeof setTimeout> | undefined
  private searches = 0

  constructor(
    private readonly context: Context,
    /** What an earlier life of this page had left to send, by room. */
    private readonly left: (room: string) => readonly OutboxEntry[],
  ) {}

  /** Read the user's rooms anew. Those that are not theirs any more go, unless somebody is about to join them. */
  async readMine(): Promise<boolean> {
    const docs: RoomDoc[] = []
    let cursor: string | undefined
    for (let page = 0; page < MOST_PAGES; page++) {
      const request = { mine: true, limit: PAGE, ...(cursor === undefined ? {} : { cursor }) }
      const result = await this.context.wire.call('room:list', request)
      if (!result.ok) return false
      docs.push(...result.data.rooms)
      if (result.data.cursor === null) {
        this.context.store.update((state) => replaceMine(state, docs, this.left))
        return true
      }
      cursor = result.data.cursor
    }
    docs.forEach((doc) => this.add(doc))
    return true
  }

  /** Have the user's rooms read anew soon, for their unread counts. */
  refreshSoon(): void {
    this.refresh ??= setTimeout(() => {
      this.refresh = undefined
      void this.readMine()
    }, REFRESH_MS)
  }

  async search(query: string): Promise<void> {
    const round = ++this.searches
    this.context.store.update((state) => ({ ...state, found: { ...state.found, query, loading: true } }))
    const result = await this.context.wire.call('room:list', {
      limit: PAGE,
      ...(query === '' ? {} : { query }),
    })
    if (round !== this.searches) return
    const found = result.ok ? result.data : { rooms: [], cursor: null }
    this.context.store.update((state) => ({ ...state, found: { query, ...found, loading: false } }))
  }

  async searchMore(): Promise<void> {
    const { query, cursor, rooms } = this.context.store.get().found
    if (cursor === null) return
    const round = ++this.searches
    const request = { limit: PAGE, cursor, ...(query === '' ? {} : { query }) }
    const result = await this.context.wire.call('room:list', request)
    if (round !== this.searches || !result.ok) return
    const found = {
      query,
      rooms: [...rooms, ...result.data.rooms],
      cursor: result.data.cursor,
      loading: false,
    }
    this.context.store.update((state) => ({ ...state, found }))
  }

  async create(title: string, topic: string): Promise<Result<{ room: RoomDoc }>> {
    const id = idFrom(title)
    const request = {
      title,
      kind: 'public' as const,
      ...(id === '' ? {} : { id }),
      ...(topic === '' ? {} : { topic }),
    }
    const result = await this.context.wire.call('room:create', request)
    if (result.ok) this.add(result.data.room)
    return result
  }

  add(doc: RoomDoc): void {
    this.context.store.update((state) =>
      withRoom(addRoom(state, doc, this.left), doc.id, (room) => withDoc(room, doc)),
    )
  }
}

/** The id that a public room gets from its title; empty if the title has nothing that an id may hold. */
export function idFrom(title: string): string {
  const plain = title.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase()
  const dashed = plain.replace(/[^a-z0-9._]+/g, '-').slice(0, 64)
  return dashed.replace(/^[-._]+|[-._]+$/g, '')
}

function addRoom(state: State, doc: RoomDoc, left: (room: string) => readonly OutboxEntry[]): State {
  if (doc.id in state.rooms) return state
  return { ...state, rooms: { ...state.rooms, [doc.id]: makeRoom(doc, left(doc.id)) } }
}

function replaceMine(
  state: State,
  docs: readonly RoomDoc[],
  left: (room: string) => readonly OutboxEntry[],
): State {
  const listed = new Map(docs.map((doc) => [doc.id, doc]))
  const kept: Record<string, Room> = {}
  for (const [id, room] of Object.entries(state.rooms)) {
    const doc = listed.get(id)
    const wanted = id === state.current && room.doc.role === null
    if (doc !== undefined) kept[id] = withListed(room, doc)
    else if (wanted || room.subscription === 'joining') kept[id] = room
  }
  const next: State = {
    ...state,
    rooms: kept,
    current: state.current !== null && state.current in kept ? state.current : null,
  }
  return docs.reduce((held, doc) => addRoom(held, doc, left), next)
}

/** A listing may be older than the events of a room that is joined; it is the only word about one that is not. */
function withListed(room: Room, doc: RoomDoc): Room {
  return room.subscription === 'live' || room.subscription === 'catching_up' ? room : withDoc(room, doc)
}
