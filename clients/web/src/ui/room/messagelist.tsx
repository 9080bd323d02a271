import { useEffect, useMemo, useRef } from 'preact/hooks'
import type { Room } from '../../state/room'
import { rowsOf, type Row } from '../../state/rows'
import { hasMoreBefore, messageById, newestSeq } from '../../state/timeline'
import type { Client } from '../../sync/client'
import { nameOf } from '../../sync/names'
import type { MessageDoc } from '../../wire/documents'
import { dayName } from '../format'
import { useWindowEvent } from '../hooks'
import { Icon } from '../icons'
import { MessageItem, type MessageHandlers } from './message'
import { PendingItem } from './pending'
import { useScrolling } from './scrolling'

interface Props {
  readonly room: Room
  readonly me: string
  readonly client: Client
  readonly onReply: (message: MessageDoc) => void
  readonly onEdit: (message: MessageDoc) => void
}

/** The messages that are here, those on their way, and the reader's place among them. */
export function MessageList({ room, me, client, onReply, onEdit }: Props) {
  const list = useRef<HTMLDivElement>(null)
  const { id } = room.doc
  const rows = useMemo(
    () => rowsOf(room.timeline.messages, room.newAfter, me),
    [room.timeline, room.newAfter, me],
  )
  const newest = newestSeq(room.timeline)
  const { atEnd, toEnd } = useScrolling(list, {
    firstKey: rows[0]?.key ?? '',
    lastKey: `${newest} ${room.outbox.length}`,
    version: room,
    onNearStart: () => void client.messages.loadOlder(id),
  })
  useSeen(room, client, atEnd)

  // One object for the life of the list: messages that have not changed are not drawn again.
  const latest = useRef({ onReply, onEdit })
  latest.current = { onReply, onEdit }
  const handlers = useMemo<MessageHandlers>(
    () => ({
      onReply: (message) => latest.current.onReply(message),
      onEdit: (message) => latest.current.onEdit(message),
      onRemove: (message) => void client.messages.remove(message),
      onReact: (message, emoji, on) => void client.messages.react(message, emoji, on),
      onShow: (message) => document.getElementById(elementId(message))?.focus(),
      nameOf: (user) => nameOf(client.store.get().rooms[id] ?? room, user),
    }),
    [client, id],
  )

  return (
    <div class="messages-frame">
      <div
        class="messages"
        ref={list}
        role="log"
        aria-label="Messages"
        aria-busy={room.subscription === 'joining' || room.loadingBefore}
        tabIndex={0}
        onKeyDown={(event) => moveFocus(event, list.current)}
      >
        <StartOfList room={room} />
        <ol>
          {rows.map((row) => (
            <ListRow key={row.key} row={row} room={room} me={me} handlers={handlers} />
          ))}
          {room.outbox.map((entry) => (
            <PendingItem key={entry.key} entry={entry} room={id} sender={client.sender} />
          ))}
        </ol>
        <SeenBy room={room} me={me} />
      </div>
      {!atEnd && (
        <button type="button" class="to-end" onClick={toEnd}>
          <Icon name="down" /> {room.doc.unread > 0 ? 'New messages' : 'To the newest'}
        </button>
      )}
    </div>
  )
}

function ListRow(props: { row: Row; room: Room; me: string; handlers: MessageHandlers }) {
  const { row, room } = props
  if (row.type === 'day') return <li class="day">{dayName(row.at)}</li>
  if (row.type === 'new') return <li class="new-line">New</li>
  const { message } = row
  const quoted = message.reply_to === null ? null : (messageById(room.timeline, message.reply_to) ?? null)
  const mayRemove =
    message.sender.id === props.me || room.doc.role === 'owner' || room.doc.role === 'moderator'
  return (
    <MessageItem
      message={message}
      quoted={quoted}
      isFirst={row.isFirst}
      me={props.me}
      mayRemove={mayRemove}
      elementId={elementId(message)}
      handlers={props.handlers}
    />
  )
}

function StartOfList({ room }: { room: Room }) {
  if (room.loadingBefore || (room.position === null && room.error === null))
    return <p class="edge">Loading…</p>
  if (hasMoreBefore(room.timeline)) return null
  return (
    <p class="edge">
      {room.timeline.messages.length === 0 ? 'Nothing here yet. Say something!' : 'The room begins here.'}
    </p>
  )
}

/** Who of the others has read the user's newest message. */
function SeenBy({ room, me }: { room: Room; me: string }) {
  const last = room.timeline.messages.at(-1)
  if (last === undefined || last.sender.id !== me) return null
  const readers = Object.entries(room.readers).filter(([, seq]) => seq >= last.seq)
  if (readers.length === 0) return null
  const names = readers.slice(0, 3).map(([user]) => nameOf(room, user))
  const more = readers.length > 3 ? ` and ${readers.length - 3} more` : ''
  return (
    <p class="seen-by">
      Seen by {names.join(', ')}
      {more}
    </p>
  )
}

/** What is on the screen of somebody who looks at it has been read. */
function useSeen(room: Room, client: Client, atEnd: boolean): void {
  const { id } = room.doc
  const newest = newestSeq(room.timeline)
  const look = () => {
    if (document.visibilityState !== 'visible' || !atEnd || room.subscription !== 'live') return
    client.reader.seen(id, newest)
    client.messages.trim(id)
  }
  useEffect(look, [id, newest, atEnd, room.subscription, room.doc.unread])
  useWindowEvent('focus', look)
}

function elementId(message: MessageDoc): string {
  return `message-${message.id}`
}

/** Up and down go from message to message; the buttons of the one in focus follow with Tab. */
function moveFocus(event: KeyboardEvent, list: HTMLElement | null): void {
  const step = { ArrowUp: -1, ArrowDown: 1 }[event.key]
  if (step === undefined || list === null || event.target instanceof HTMLButtonElement) return
  const items = [...list.querySelectorAll<HTMLElement>('li.message')]
  const at = items.findIndex((item) => item === document.activeElement)
  const next = at === -1 ? items.at(-1) : items[at + step]
  if (next === undefined) return
  event.preventDefault()
  next.focus()
}
