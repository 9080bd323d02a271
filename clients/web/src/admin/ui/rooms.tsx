import { useState } from 'preact/hooks'
import { useStore } from '../../ui/hooks'
import type { AdminClient } from '../client'
import type { ListedRoom } from '../events'
import type { Question } from './ask'
import { PagedTable, Section, TextField, Time } from './parts'
import type { SectionProps } from './sections'

/** All rooms, and the end of them. */
export function Rooms({ client, isOnline, ask }: SectionProps) {
  const { filter } = useStore(client.rooms.store)
  const [query, setQuery] = useState(filter)
  return (
    <Section title="Rooms">
      <form
        class="fields"
        role="search"
        onSubmit={(event) => {
          event.preventDefault()
          void client.rooms.search(query)
        }}
      >
        <TextField id="room-query" label="Part of the title or id" value={query} onValue={setQuery} />
        <button class="primary">Search</button>
      </form>
      <PagedTable
        pager={client.rooms}
        isOnline={isOnline}
        caption="Rooms"
        empty="No rooms."
        keyOf={(room: ListedRoom) => room.id}
        columns={[
          {
            label: 'Room',
            cell: ({ id, title }) => (
              <>
                <b>{title}</b> <code>{id}</code>
              </>
            ),
          },
          { label: 'Kind', cell: ({ kind }) => kind, isShort: true },
          { label: 'Members', cell: ({ members }) => members },
          { label: 'Created', cell: ({ created_at }) => <Time at={created_at} /> },
          {
            label: 'Action',
            cell: (room) => (
              <button type="button" onClick={() => ask(deleteQuestion(client, room))}>
                Delete<span class="unseen"> {room.title}</span>
              </button>
            ),
          },
        ]}
      />
    </Section>
  )
}

function deleteQuestion(client: AdminClient, { id, title }: ListedRoom): Question {
  return {
    title: `Delete ${title}?`,
    text: 'The room goes with all its messages, for everybody. This cannot be taken back.',
    verb: 'Delete the room',
    wantsReason: true,
    typed: id,
    act: (reason) => client.act('room:delete', { room: id, reason }, `The room ${title} was deleted.`),
    onDone: () => void client.rooms.reload(),
  }
}
