import type { RoomDoc, UserDoc } from '../wire/documents'
import type { Pushes } from '../wire/events'

/** The documents of `/admin`. Times are milliseconds since the Unix epoch. */

export interface ConnectionDoc {
  readonly id: string
  readonly user: UserDoc
  readonly node: string
  readonly namespaces: readonly string[]
  readonly transport: string
  readonly address: string
  readonly since: number
  /** The first fifty. */
  readonly rooms: readonly string[]
}

export interface BanDoc {
  readonly user: string
  /** Null, or a time beyond the calendar, for a ban without end. */
  readonly until: number | null
  readonly reason: string
  readonly by: string
  readonly at: number
}

export interface AuditDoc {
  readonly at: number
  readonly actor: string
  readonly action: string
  readonly target: Readonly<Record<string, string>>
  readonly reason: string
  /** `ok`, the code of an error, or `unknown` as long as nobody knows what became of it. */
  readonly outcome: string
}

/** Figures of a node or of the service, by name. The page names those that it knows, and shows the others too. */
export type Figures = Readonly<Record<string, unknown>>

/** Of one node; `own` is the one that answers. */
export type NodeDoc = Figures & { readonly node: string; readonly at: number; readonly own: boolean }

/** A room as administrators see it. */
export type ListedRoom = Pick<RoomDoc, 'id' | 'title' | 'kind' | 'topic' | 'members' | 'created_at'>

export type Level = 'info' | 'warning' | 'critical'

interface Call<Request, Answer> {
  readonly request: Request
  readonly answer: Answer
}

export interface Paging {
  readonly cursor?: string
  readonly limit?: number
}

type Nothing = Readonly<Record<string, never>>

/** What can be asked of `/admin`, and what the acks carry. */
export interface AdminCalls {
  'stats:watch': Call<{ every_ms: number }, Nothing>
  'nodes:list': Call<Nothing, { nodes: readonly NodeDoc[] }>
  'node:drain': Call<{ node: string }, Nothing>
  'connections:list': Call<
    { room?: string; user?: string; node?: string } & Paging,
    { connections: readonly ConnectionDoc[]; cursor: string | null; missing?: readonly string[] }
  >
  'connection:disconnect': Call<{ id: string; reason: string }, Nothing>
  'user:disconnect': Call<{ user: string; reason: string }, Nothing>
  'rooms:list': Call<{ query?: string } & Paging, { rooms: readonly ListedRoom[]; cursor: string | null }>
  'room:delete': Call<{ room: string; reason: string }, Nothing>
  'bans:list': Call<Paging, { bans: readonly BanDoc[]; cursor: string | null }>
  'user:ban': Call<{ user: string; seconds?: number; reason: string }, Nothing>
  'user:unban': Call<{ user: string }, Nothing>
  'token:revoke': Call<({ user: string } | { jti: string }) & { reason: string }, Nothing>
  'notice:send': Call<{ room?: string; level: Level; text: string }, Nothing>
  'audit:list': Call<Paging, { entries: readonly AuditDoc[]; cursor: string | null }>
}

/** Those that change something: each is in the audit log. */
export type ActionName =
  | 'node:drain'
  | 'connection:disconnect'
  | 'user:disconnect'
  | 'room:delete'
  | 'user:ban'
  | 'user:unban'
  | 'token:revoke'
  | 'notice:send'

/** What `/admin` pushes, as far as the page listens. */
export interface AdminPushes {
  hello: Pick<Pushes['hello'], 'user' | 'node' | 'version'>
  stats: Figures
  closing: Pushes['closing']
  'token:expiring': Pushes['token:expiring']
}
