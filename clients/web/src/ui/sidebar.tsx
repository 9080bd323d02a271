import { useEffect, useRef, useState } from 'preact/hooks'
import type { Room } from '../state/room'
import type { State } from '../state/state'
import type { Client } from '../sync/client'
import type { RoomDoc } from '../wire/documents'
import { badgeText } from './format'
import { Icon } from './icons'
import { NewRoom } from './newroom'

const SEARCH_AFTER_MS = 200

/** The user's rooms with what is unread in them, a search over all rooms, and the making of new ones. */
export function Sidebar({ state, client }: { state: State; client: Client }) {
  const rooms = Object.values(state.rooms).sort((a, b) => a.doc.title.localeCompare(b.doc.title))
  const wanted = state.found.query.toLocaleLowerCase()
  const mine = rooms.filter((room) => `${room.doc.title} ${room.doc.id}`.toLocaleLowerCase().includes(wanted))
  const others = state.found.rooms.filter((doc) => !(doc.id in state.rooms))
  return (
    <nav class="sidebar" aria-label="Rooms">
      <RoomSearch onQuery={(query) => void client.directory.search(query)} />
      <div class="room-lists">
        <h2 id="mine">Your rooms</h2>
        <ul aria-labelledby="mine">
          {mine.map((room) => (
            <MyRoom
              key={room.doc.id}
              room={room}
              isCurrent={room.doc.id === state.current}
              onOpen={() => client.open(room.doc.id)}
            />
          ))}
          {mine.length === 0 && (
            <li class="empty">{rooms.length === 0 ? 'None yet: join or make one.' : 'None found.'}</li>
          )}
        </ul>
        <h2 id="others">More rooms</h2>
        <ul aria-labelledby="others">
          {others.map((doc) => (
            <OtherRoom key={doc.id} doc={doc} onJoin={() => client.open(doc.id, doc)} />
          ))}
          {others.length === 0 && <li class="empty">{state.found.loading ? 'Looking…' : 'No others.'}</li>}
        </ul>
        {state.found.cursor !== null && (
          <button type="button" class="quiet" onClick={() => void client.directory.searchMore()}>
            Show more
          </button>
        )}
      </div>
      <NewRoom client={client} />
    </nav>
  )
}

function RoomSearch({ onQuery }: { onQuery: (query: string) => void }) {
  const [query, setQuery] = useState('')
  const isFirst = useRef(true)
  useEffect(() => {
    if (isFirst.current) {
      isFirst.current = false
      return
    }
    const timer = setTimeout(() => onQuery(query.trim()), SEARCH_AFTER_MS)
    return () => clearTimeout(timer)
  }, [query])
  return (
    <div class="room-search">
      <Icon name="search" />
      <input
        id="room-search"
        type="search"
        value={query}
        onInput={(event) => setQuery(event.currentTarget.value)}
        placeholder="Find a room"
        aria-label="Find a room"
        aria-keyshortcuts="Control+K"
        maxLength={100}
      />
    </div>
  )
}

function MyRoom({ room, isCurrent, onOpen }: { room: Room; isCurrent: boolean; onOpen: () => void }) {
  const { doc } = room
  const unread = isCurrent ? 0 : doc.unread
  return (
    <li>
      <button
        type="button"
        class="room-button"
        data-unread={unread > 0}
        aria-current={isCurrent ? 'page' : undefined}
        onClick={onOpen}
      >
        <RoomSign doc={doc} />
        <span class="room-title">{doc.title}</span>
        {doc.role === 'invited' && <span class="tag">invited</span>}
        {unread > 0 && (
          <span class="badge" data-mention={room.mentioned}>
            {room.mentioned && '@'}
            {badgeText(unread)}
            <span class="unseen"> unread</span>
          </span>
        )}
      </button>
    </li>
  )
}

function OtherRoom({ doc, onJoin }: { doc: RoomDoc; onJoin: () => void }) {
  return (
    <li>
      <button type="button" class="room-button" aria-label={`Join ${doc.title}`} onClick={onJoin}>
        <RoomSign doc={doc} />
        <span class="room-title">
          {doc.title}
          {doc.topic !== '' && <small>{doc.topic}</small>}
        </span>
        <span class="tag">{doc.members === 1 ? '1 member' : `${doc.members} members`}</span>
      </button>
    </li>
  )
}

function RoomSign({ doc }: { doc: RoomDoc }) {
  const sign = { public: '#', private: '◆', direct: '@' }[doc.kind]
  return (
    <span class="room-sign" aria-hidden="true">
      {sign}
    </span>
  )
}
