import type {
  LimitsDoc,
  MemberDoc,
  MessageDoc,
  Role,
  RoomDoc,
  RoomKind,
  SharedRoomDoc,
  UserDoc,
  UserRef,
} from './documents'

export type JoinOutcome = 'full' | 'partial' | 'reset'

export interface JoinAnswer {
  readonly room: RoomDoc
  readonly messages: readonly MessageDoc[]
  readonly outcome: JoinOutcome
  readonly head: number
  readonly next: number
  /** Null in rooms with more than a hundred. */
  readonly members: readonly MemberDoc[] | null
}

export interface SyncAnswer {
  readonly messages: readonly MessageDoc[]
  readonly outcome: JoinOutcome
  readonly head: number
  readonly next: number
}

export interface HistoryAnswer {
  readonly messages: readonly MessageDoc[]
  readonly more_before: boolean
  readonly more_after: boolean
}

interface Call<Request, Answer> {
  readonly request: Request
  readonly answer: Answer
}

/** What the page asks of `/chat`, and what the acks carry. */
export interface Calls {
  'room:create': Call<{ id?: string; title: string; kind: RoomKind; topic?: string }, { room: RoomDoc }>
  'room:list': Call<
    { query?: string; mine?: boolean; limit?: number; cursor?: string },
    { rooms: readonly RoomDoc[]; cursor: string | null }
  >
  'room:join': Call<{ room: string; since?: number; epoch?: string; limit?: number }, JoinAnswer>
  'room:leave': Call<{ room: string }, Record<string, never>>
  'room:members': Call<
    { room: string; cursor?: string; limit?: number },
    { members: readonly MemberDoc[]; cursor: string | null }
  >
  'message:send': Call<
    { room: string; key: string; body: string; reply_to?: string },
    { message: MessageDoc; duplicate: boolean }
  >
  'message:edit': Call<{ room: string; id: string; body: string; rev?: number }, { message: MessageDoc }>
  'message:delete': Call<{ room: string; id: string }, { message: MessageDoc }>
  'message:react': Call<{ room: string; id: string; emoji: string; on: boolean }, { message: MessageDoc }>
  'history:fetch': Call<{ room: string; before?: number; limit?: number }, HistoryAnswer>
  'history:sync': Call<{ room: string; since: number; epoch?: string; limit?: number }, SyncAnswer>
  'read:mark': Call<{ room: string; seq: number }, { read_seq: number; unread: number }>
}

export type CallName = keyof Calls

/** What `/chat` pushes, as far as the page listens. */
export interface Pushes {
  hello: {
    user: UserDoc
    node: string
    server_time: number
    version: string
    limits: LimitsDoc
  }
  message: MessageDoc
  room: SharedRoomDoc
  'room:added': { room: RoomDoc }
  'room:removed': { room: string; reason: string }
  member: { room: string; user: UserRef; role?: Role; left?: boolean }
  activity: { room: string; seq: number; mention: boolean }
  typing: { room: string; user: UserRef; on: boolean }
  read: { room: string; user: UserRef; seq: number }
  /** Word from the administrators; `room` where it is for one room only. */
  notice: { level: string; text: string; room?: string }
  gap: { room: string; head: number }
  draining: { reconnect_in_ms: number }
  closing: { code: string; message: string; reconnect: boolean; retry_after?: number }
  'token:expiring': { expires_at: number }
}

export type PushName = keyof Pushes

/** What is said without asking for an answer; may be lost. */
export interface Hints {
  typing: { room: string; on: boolean }
}
