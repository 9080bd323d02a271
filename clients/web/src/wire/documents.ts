/** The documents of the contract. Times are milliseconds since the Unix epoch. */

export interface SenderDoc {
  readonly id: string
  readonly name: string
  readonly guest: boolean
}

export interface ReactionDoc {
  readonly emoji: string
  readonly count: number
  /** The first twenty who gave it. */
  readonly users: readonly string[]
}

export interface MessageDoc {
  readonly id: string
  readonly room: string
  /** The message's place in its room. */
  readonly seq: number
  /** The revision at which it came to stand as it does. */
  readonly rev: number
  readonly key: string
  readonly sender: SenderDoc
  readonly body: string
  readonly reply_to: string | null
  readonly mentions: readonly string[]
  readonly reactions: readonly ReactionDoc[]
  readonly created_at: number
  readonly edited_at: number | null
  readonly deleted: boolean
}

export type RoomKind = 'public' | 'private' | 'direct'
export type Role = 'owner' | 'moderator' | 'member'

export interface RoomDoc {
  readonly id: string
  readonly title: string
  readonly kind: RoomKind
  readonly topic: string
  readonly capacity: number
  readonly slow_mode_s: number
  readonly created_at: number
  readonly epoch: string
  readonly head: number
  readonly members: number
  readonly role: Role | 'invited' | null
  readonly read_seq: number
  /** Messages by others after `read_seq`; 1000 means "or more". */
  readonly unread: number
}

export interface UserDoc {
  readonly id: string
  readonly name: string
  readonly guest: boolean
}

/** The service's bounds, as far as the page keeps them by itself. */
export interface LimitsDoc {
  /** Of a message's text: code points, after NFC. */
  readonly body: number
}

/** What `room` pushes: the document without what is of the asking user. */
export type SharedRoomDoc = Omit<RoomDoc, 'role' | 'read_seq' | 'unread'>

/** A user where the contract does not say whether it is the id or the whole document. */
export type UserRef = string | UserDoc

export interface MemberDoc {
  readonly user: UserRef
  readonly role: Role
  readonly muted_until: number
}

export function userId(user: UserRef): string {
  return typeof user === 'string' ? user : user.id
}
