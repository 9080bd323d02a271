import { useEffect, useState } from 'preact/hooks'
import type { Room } from '../../state/room'
import { describeTypists } from '../../state/typing'
import { messageById } from '../../state/timeline'
import type { Client } from '../../sync/client'
import type { MessageDoc } from '../../wire/documents'
import { explain } from '../../wire/errors'
import { IconButton, Icon } from '../icons'
import { Composer, type Intent } from './composer'
import { MemberList } from './members'
import { MessageList } from './messagelist'

/** One room: its head, its messages, who types, and the field to write in. Made anew for each room. */
export function RoomPane({ room, me, client }: { room: Room; me: string; client: Client }) {
  const [intent, setIntent] = useState<Intent>({ kind: 'write' })
  const [showsMembers, setShowsMembers] = useState(false)
  const { doc } = room

  // A message that is deleted under the hands of its author cannot be edited or answered any more.
  useEffect(() => {
    if (intent.kind !== 'write' && messageById(room.timeline, intent.message.id)?.deleted === true) {
      setIntent({ kind: 'write' })
    }
  }, [room.timeline, intent])

  return (
    <section class="room" aria-label={doc.title} data-subscription={room.subscription}>
      <RoomHead
        room={room}
        showsMembers={showsMembers}
        onBack={() => client.close()}
        onMembers={() => setShowsMembers(!showsMembers)}
      />
      <div class="room-body">
        <div class="talk">
          {room.error !== null && (
            <p class="callout" role="alert">
              {explain(room.error)} <button onClick={() => client.open(doc.id)}>Try again</button>
            </p>
          )}
          <MessageList
            room={room}
            me={me}
            client={client}
            onReply={(message) => setIntent({ kind: 'reply', message })}
            onEdit={(message) => setIntent({ kind: 'edit', message })}
          />
          <p class="typing" aria-live="polite">
            {describeTypists(room.typists)}
          </p>
          <Composer
            room={room}
            client={client}
            intent={intent}
            onIntent={setIntent}
            onEditLast={() => setIntent(editLast(room, me) ?? intent)}
          />
        </div>
        {showsMembers && (
          <MemberList
            room={room}
            me={me}
            onClose={() => setShowsMembers(false)}
            onLeave={() => void client.leave(doc.id)}
          />
        )}
      </div>
    </section>
  )
}

function RoomHead(props: { room: Room; showsMembers: boolean; onBack: () => void; onMembers: () => void }) {
  const { doc, subscription } = props.room
  const count = doc.members === 1 ? '1 member' : `${doc.members} members`
  return (
    <header class="room-head">
      <IconButton class="back" icon="back" label="All rooms" onClick={props.onBack} />
      <div class="room-name">
        <h2>{doc.title}</h2>
        {doc.topic !== '' && <p>{doc.topic}</p>}
      </div>
      {subscription === 'catching_up' && <span class="tag">catching up…</span>}
      <button
        type="button"
        class="quiet members-button"
        aria-expanded={props.showsMembers}
        onClick={props.onMembers}
        title="Members, and leaving the room"
      >
        <Icon name="members" /> {count}
      </button>
    </header>
  )
}

function editLast(room: Room, me: string): Intent | null {
  const isOwn = (message: MessageDoc) => message.sender.id === me && !message.deleted
  const message = room.timeline.messages.findLast(isOwn)
  return message === undefined ? null : { kind: 'edit', message }
}
