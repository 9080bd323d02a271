import type { Socket } from 'socket.io-client'
import { Store } from '../state/store'
import { Link, type LinkHooks } from '../sync/link'
import type { ErrorObject } from '../wire/errors'
import { SocketWire } from '../wire/socket'
import type { Result, Wire } from '../wire/wire'
import type {
  ActionName,
  AdminCalls,
  AdminPushes,
  AuditDoc,
  BanDoc,
  ConnectionDoc,
  ListedRoom,
  NodeDoc,
} from './events'
import { Pager, type PageOf } from './pager'
import { INITIAL, type AdminState } from './state'

const PAGE = 50
const STATS_EVERY_MS = 2_000

/** These end the visit: whoever the token is of has no business here, or not any more. */
const NOT_LET_IN: readonly string[] = ['forbidden', 'banned']

export const NOT_SENT: ErrorObject = {
  code: 'no_answer',
  message: 'There is no connection to the service. Nothing was done.',
  retryable: true,
}

const OUTCOME_UNKNOWN: ErrorObject = {
  code: 'no_answer',
  message: 'The service did not answer in time. The audit log says whether it was done.',
  retryable: true,
}

export interface ConnectionFilter {
  readonly room: string
  readonly user: string
  readonly node: string
}

export type AdminWire = Wire<AdminCalls, AdminPushes, Record<never, never>>

/** Everything that the page can do once it has a token. One per token; `stop` ends it. */
export class AdminClient {
  readonly store = new Store<AdminState>(INITIAL)
  readonly link: Link<AdminState>
  readonly nodes: Pager<NodeDoc, null>
  readonly connections: Pager<ConnectionDoc, ConnectionFilter>
  readonly rooms: Pager<ListedRoom, string>
  readonly bans: Pager<BanDoc, null>
  readonly audit: Pager<AuditDoc, null>
  private watchers = 0
  private lastSaid = 0

  constructor(
    socket: Socket,
    onIdentityLost: LinkHooks['onIdentityLost'],
    private readonly wire: AdminWire = new SocketWire<AdminCalls, AdminPushes, Record<never, never>>(socket),
  ) {
    const hooks = { onApart: () => undefined, onIdentityLost, identityLost: NOT_LET_IN }
    this.link = new Link(socket, this.store, hooks)
    this.nodes = new Pager<NodeDoc, null>(null, async () =>
      pageOf(await wire.call('nodes:list', {}), ({ nodes }) => ({ rows: nodes, next: null })),
    )
    this.connections = new Pager<ConnectionDoc, ConnectionFilter>(
      { room: '', user: '', node: '' },
      async (filter, cursor) =>
        pageOf(
          await wire.call('connections:list', { ...given({ ...filter }), ...paging(cursor) }),
          ({ connections, cursor, missing }) => ({ rows: connections, next: cursor, missing: missing ?? [] }),
        ),
    )
    this.rooms = new Pager<ListedRoom, string>('', async (query, cursor) =>
      pageOf(
        await wire.call('rooms:list', { ...given({ query }), ...paging(cursor) }),
        ({ rooms, cursor }) => ({
          rows: rooms,
          next: cursor,
        }),
      ),
    )
    this.bans = new Pager<BanDoc, null>(null, async (_, cursor) =>
      pageOf(await wire.call('bans:list', paging(cursor)), ({ bans, cursor }) => ({
        rows: bans,
        next: cursor,
      })),
    )
    this.audit = new Pager<AuditDoc, null>(null, async (_, cursor) =>
      pageOf(await wire.call('audit:list', paging(cursor)), ({ entries, cursor }) => ({
        rows: entries,
        next: cursor,
      })),
    )
    wire.on('hello', (hello) => this.greeted(hello))
    wire.on('closing', (closing) => this.link.announced(closing))
    wire.on('stats', (stats) => this.store.update((state) => ({ ...state, stats })))
    wire.on('token:expiring', ({ expires_at }) =>
      this.store.update((state) => ({ ...state, tokenEndsAt: expires_at })),
    )
  }

  stop(): void {
    this.link.stop()
  }

  /** Have something done, and say `done` to the user if it was. Returns what went wrong, or null. */
  async act<N extends ActionName>(
    name: N,
    request: AdminCalls[N]['request'],
    done: string,
  ): Promise<ErrorObject | null> {
    if (!this.isOnline()) return NOT_SENT
    const result = await this.wire.call(name, request)
    if (result.ok) this.say(done)
    else return result.error.code === 'no_answer' ? OUTCOME_UNKNOWN : result.error
    return null
  }

  /** Have figures come while somebody looks; the function that is returned ends that. */
  watchStats(): () => void {
    this.watchers += 1
    if (this.watchers === 1) void this.tellWatching()
    return () => {
      this.watchers -= 1
      if (this.watchers === 0) void this.tellWatching()
    }
  }

  say(text: string): void {
    this.lastSaid += 1
    const said = { id: this.lastSaid, text }
    this.store.update((state) => ({ ...state, said }))
  }

  /** What was said is of no interest where the user goes next. */
  hush(): void {
    this.store.update((state) => ({ ...state, said: null }))
  }

  private isOnline(): boolean {
    return this.store.get().connection.shown.state === 'online'
  }

  private greeted({ user, node, version }: AdminPushes['hello']): void {
    this.store.update((state) => ({ ...state, me: user, node, version, tokenEndsAt: null }))
    this.link.greeted()
    if (this.watchers > 0) void this.tellWatching()
  }

  private async tellWatching(): Promise<void> {
    if (!this.isOnline()) return
    const everyMs = this.watchers > 0 ? STATS_EVERY_MS : 0
    const result = await this.wire.call('stats:watch', { every_ms: everyMs })
    this.store.update((state) => ({ ...state, statsError: result.ok ? null : result.error }))
  }
}

const paging = (cursor: string | null) => ({ limit: PAGE, ...(cursor === null ? {} : { cursor }) })

/** The fields that were filled in. */
function given<T extends Record<string, string>>(fields: T): Partial<T> {
  const filled = Object.entries(fields).map(([name, value]) => [name, value.trim()] as const)
  return Object.fromEntries(filled.filter(([, value]) => value !== '')) as Partial<T>
}

function pageOf<A, Row>(result: Result<A>, read: (answer: A) => PageOf<Row>): Result<PageOf<Row>> {
  return result.ok ? { ok: true, data: read(result.data) } : result
}
