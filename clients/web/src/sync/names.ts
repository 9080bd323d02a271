import type { Room } from '../state/room'
import { userId, type UserRef } from '../wire/documents'

/** What to call a user in a room: as the document says, as the member list says, as they signed last, else by id. */
export function nameOf(room: Room, user: UserRef): string {
  if (typeof user !== 'string') return user.name
  for (const member of room.members ?? []) {
    if (typeof member.user !== 'string' && userId(member.user) === user) return member.user.name
  }
  const message = room.timeline.messages.findLast((held) => held.sender.id === user)
  return message?.sender.name ?? user
}
