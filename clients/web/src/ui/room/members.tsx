import { useState } from 'preact/hooks'
import type { Room } from '../../state/room'
import { nameOf } from '../../sync/names'
import { userId, type MemberDoc } from '../../wire/documents'
import { Avatar } from '../avatar'
import { IconButton } from '../icons'

const RANK = { owner: 0, moderator: 1, member: 2 }

/** Who is in the room, by rank and name, and the way out of it. */
export function MemberList(props: { room: Room; me: string; onClose: () => void; onLeave: () => void }) {
  const { room } = props
  const members = [...(room.members ?? [])].sort(
    (a, b) => RANK[a.role] - RANK[b.role] || nameOf(room, a.user).localeCompare(nameOf(room, b.user)),
  )
  return (
    <aside class="members" aria-label="Members">
      <div class="members-head">
        <h3>Members</h3>
        <IconButton icon="close" label="Hide the members" onClick={props.onClose} />
      </div>
      {room.members === null ? (
        <p class="muted">{room.doc.members} people: too many to list here.</p>
      ) : (
        <ul>
          {members.map((member) => (
            <Member
              key={userId(member.user)}
              member={member}
              room={room}
              isMe={userId(member.user) === props.me}
            />
          ))}
        </ul>
      )}
      <LeaveButton onLeave={props.onLeave} />
    </aside>
  )
}

function Member({ member, room, isMe }: { member: MemberDoc; room: Room; isMe: boolean }) {
  const name = nameOf(room, member.user)
  return (
    <li>
      <Avatar id={userId(member.user)} name={name} />
      <span class="member-name">
        {name}
        {isMe && ' (you)'}
      </span>
      {member.role !== 'member' && <span class="tag">{member.role}</span>}
      {member.muted_until > Date.now() && <span class="tag">muted</span>}
    </li>
  )
}

/** Leaving is asked twice: the way back into a private room may be closed. */
function LeaveButton({ onLeave }: { onLeave: () => void }) {
  const [asked, setAsked] = useState(false)
  return (
    <button
      type="button"
      class={asked ? 'danger' : 'quiet'}
      onClick={() => (asked ? onLeave() : setAsked(true))}
      onBlur={() => setAsked(false)}
    >
      {asked ? 'Really leave?' : 'Leave the room'}
    </button>
  )
}
