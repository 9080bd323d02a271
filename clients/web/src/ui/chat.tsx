import { useCallback, useEffect, useLayoutEffect } from 'preact/hooks'
import type { Client } from '../sync/client'
import { hashOfRoom, roomInHash } from '../session/identity'
import { ConnectionBadge, ConnectionBanner } from './connection'
import { useStore, useWindowEvent } from './hooks'
import { Notices } from './notices'
import { RoomPane } from './room/roompane'
import { Sidebar } from './sidebar'

/** The page once there is a name: rooms on one side, the current one on the other. */
export function Chat({ client, onRename }: { client: Client; onRename: () => void }) {
  const state = useStore(client.store)
  const { me, current, connection } = state
  const room = current === null ? undefined : state.rooms[current]
  const unread = Object.values(state.rooms).reduce((sum, one) => sum + one.doc.unread, 0)

  useEffect(() => {
    document.title = `${unread > 0 ? `(${unread}) ` : ''}${room === undefined ? 'Hubbub' : `${room.doc.title} · Hubbub`}`
  }, [unread, room?.doc.title])
  useLayoutEffect(() => {
    // Before the first hello the address may name a room that is yet to be opened.
    const hash = hashOfRoom(current)
    if (me !== null && location.hash.slice(1) !== hash)
      history.pushState(null, '', `${location.pathname}#${hash}`)
  }, [me, current])
  useWindowEvent(
    'online',
    useCallback(() => client.link.networkChanged(), [client]),
  )
  useWindowEvent(
    'offline',
    useCallback(() => client.link.networkChanged(), [client]),
  )
  useWindowEvent(
    'popstate',
    useCallback(() => followAddress(client), [client]),
  )
  useWindowEvent('keydown', focusSearch)

  return (
    <div class="chat" data-pane={room === undefined ? 'rooms' : 'room'}>
      <header class="bar">
        <h1>
          <img src="/favicon.svg" alt="" width="26" height="26" />
          <span>Hubbub</span>
        </h1>
        <ConnectionBadge connection={connection.shown} onRetry={() => client.link.start()} />
        <span class="me">
          {me !== null && <b>{me.name}</b>}
          <button type="button" class="quiet" onClick={onRename}>
            Change name
          </button>
        </span>
      </header>
      <ConnectionBanner connection={connection.shown} />
      <Sidebar state={state} client={client} />
      <main>
        {room === undefined || me === null ? (
          <p class="welcome">Pick a room, or make one.</p>
        ) : (
          <RoomPane key={room.doc.id} room={room} me={me.id} client={client} />
        )}
      </main>
      <Notices notices={state.notices} onDismiss={(id) => client.dismiss(id)} />
    </div>
  )
}

/** Back and forward go between rooms and their list. They join nothing: who left a room has left it. */
function followAddress(client: Client): void {
  const room = roomInHash(location.hash)
  if (room !== null && room in client.store.get().rooms) client.open(room)
  else client.close()
}

function focusSearch(event: Event): void {
  const { key, ctrlKey, metaKey } = event as KeyboardEvent
  if (key.toLowerCase() !== 'k' || !(ctrlKey || metaKey)) return
  event.preventDefault()
  document.getElementById('room-search')?.focus()
}
