import { useState } from 'preact/hooks'
import { useStore } from '../../ui/hooks'
import type { AdminClient } from '../client'
import type { ConnectionDoc } from '../events'
import type { Question } from './ask'
import { PagedTable, Section, TextField, Time } from './parts'
import type { SectionProps } from './sections'

/** Who is connected, from where, and the end of it. */
export function Connections({ client, isOnline, ask }: SectionProps) {
  const { filter } = useStore(client.connections.store)
  const [wanted, setWanted] = useState(filter)
  return (
    <Section title="Connections">
      <form
        class="fields"
        role="search"
        onSubmit={(event) => {
          event.preventDefault()
          void client.connections.search(wanted)
        }}
      >
        <TextField
          id="by-user"
          label="User id"
          value={wanted.user}
          onValue={(user) => setWanted({ ...wanted, user })}
        />
        <TextField
          id="by-room"
          label="Room id"
          value={wanted.room}
          onValue={(room) => setWanted({ ...wanted, room })}
        />
        <TextField
          id="by-node"
          label="Node"
          value={wanted.node}
          onValue={(node) => setWanted({ ...wanted, node })}
        />
        <button class="primary">Show</button>
      </form>
      {filter.user.trim() !== '' && (
        <div class="buttons">
          <button type="button" onClick={() => ask(userQuestion(client, filter.user.trim()))}>
            Disconnect {filter.user.trim()} everywhere
          </button>
        </div>
      )}
      <PagedTable
        pager={client.connections}
        isOnline={isOnline}
        caption="Connections"
        empty="No connections."
        keyOf={(connection: ConnectionDoc) => connection.id}
        columns={[
          {
            label: 'User',
            cell: ({ user }) => (
              <>
                <b>{user.name}</b> <code>{user.id}</code> {user.guest && <span class="tag">guest</span>}
              </>
            ),
          },
          { label: 'Node', cell: ({ node }) => node },
          { label: 'Namespaces', cell: ({ namespaces }) => namespaces.join(' '), isShort: true },
          { label: 'Transport', cell: ({ transport }) => transport, isShort: true },
          { label: 'Address', cell: ({ address }) => address, isShort: true },
          { label: 'Since', cell: ({ since }) => <Time at={since} /> },
          { label: 'Rooms', cell: ({ rooms }) => (rooms.length === 0 ? 'none' : rooms.join(', ')) },
          {
            label: 'Action',
            cell: (connection) => (
              <button type="button" onClick={() => ask(connectionQuestion(client, connection))}>
                Disconnect<span class="unseen"> {connection.user.name}</span>
              </button>
            ),
          },
        ]}
      />
    </Section>
  )
}

function connectionQuestion(client: AdminClient, { id, user }: ConnectionDoc): Question {
  return {
    title: `Disconnect ${user.name}?`,
    text: 'This one connection ends. Stock clients do not come back by themselves; a person may. The reason goes into the audit log.',
    verb: 'Disconnect',
    wantsReason: true,
    typed: null,
    act: (reason) =>
      client.act('connection:disconnect', { id, reason }, `A connection of ${user.name} was ended.`),
    onDone: () => void client.connections.reload(),
  }
}

function userQuestion(client: AdminClient, user: string): Question {
  return {
    title: `Disconnect ${user} everywhere?`,
    text: 'All connections of this user end, on all nodes. The user may come back; a ban keeps them out. The reason goes into the audit log.',
    verb: 'Disconnect',
    wantsReason: true,
    typed: null,
    act: (reason) =>
      client.act('user:disconnect', { user, reason }, `The connections of ${user} were ended.`),
    onDone: () => void client.connections.reload(),
  }
}
