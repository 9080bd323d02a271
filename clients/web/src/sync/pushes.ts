import { eventApplied, memberChanged, readBy, withDoc } from '../state/room'
import { withoutRoom, withRoom } from '../state/state'
import { started, stopped } from '../state/typing'
import { userId, type MemberDoc } from '../wire/documents'
import type { Pushes } from '../wire/events'
import { myId, type Context } from './context'
import type { Directory } from './directory'
import { nameOf } from './names'
import { notify } from './notices'
import type { Subscriber } from './subscriber'

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' })

/** Has everything that the service pushes about rooms take effect. */
export function listen(context: Context, subscriber: Subscriber, directory: Directory): void {
  const { wire, store } = context
  wire.on('message', (document) => {
    let hole = false
    store.update((state) =>
      withRoom(state, document.room, (room) => {
        const outcome = eventApplied(room, myId(context), document)
        hole = outcome.hole && room.subscription === 'live'
        return outcome.room
      }),
    )
    if (hole) void subscriber.rejoin(document.room)
  })
  wire.on('gap', ({ room }) => void subscriber.rejoin(room))
  wire.on('room', (doc) => store.update((state) => withRoom(state, doc.id, (room) => withDoc(room, doc))))
  wire.on('room:added', ({ room }) => {
    directory.add(room)
    if (room.role === 'invited') notify(store, 'info', `You are invited to ${room.title}.`)
  })
  wire.on('room:removed', ({ room, reason }) => {
    const held = store.get().rooms[room]
    if (held === undefined) return
    store.update((state) => withoutRoom(state, room))
    notify(store, 'warning', `You are no longer in ${held.doc.title}${reason ? ` (${reason})` : ''}.`)
  })
  wire.on('activity', ({ room, mention }) => {
    if (mention) store.update((state) => withRoom(state, room, (held) => ({ ...held, mentioned: true })))
    directory.refreshSoon()
  })
  listenToPeople(context)
  listenToNotices(context)
}

function listenToPeople(context: Context): void {
  const { wire, store } = context
  wire.on('member', (push) => {
    const change = memberOf(push)
    if (change !== null)
      store.update((state) => withRoom(state, push.room, (room) => memberChanged(room, change)))
  })
  wire.on('typing', ({ room, user, on }) => {
    const id = userId(user)
    if (id === myId(context)) return
    store.update((state) =>
      withRoom(state, room, (held) => ({
        ...held,
        typists: on ? started(held.typists, id, nameOf(held, user), Date.now()) : stopped(held.typists, id),
      })),
    )
  })
  wire.on('read', ({ room, user, seq }) => {
    const id = userId(user)
    if (id !== myId(context)) store.update((state) => withRoom(state, room, (held) => readBy(held, id, seq)))
    else store.update((state) => withRoom(state, room, (held) => readElsewhere(held, seq)))
  })
}

/** The user has read on another connection: what is left unread is what is held above that mark. */
function readElsewhere(room: Parameters<typeof readBy>[0], seq: number): typeof room {
  if (seq <= room.doc.read_seq) return room
  const unread = room.timeline.messages.filter((message) => message.seq > seq && !message.deleted).length
  return { ...room, doc: { ...room.doc, read_seq: seq, unread }, mentioned: unread > 0 && room.mentioned }
}

function listenToNotices({ wire, store }: Context): void {
  wire.on('notice', ({ level, text, room }) => {
    const title = store.get().rooms[room ?? '']?.doc.title
    // What is critical stays until it is dismissed, as a warning does.
    const shown = level === 'critical' ? 'error' : level === 'warning' ? level : 'info'
    notify(store, shown, title === undefined ? text : `${title}: ${text}`)
  })
  wire.on('draining', () =>
    notify(store, 'info', 'The service is restarting; this page connects again by itself.'),
  )
  wire.on('token:expiring', ({ expires_at }) =>
    notify(
      store,
      'warning',
      `Your guest pass ends at ${CLOCK.format(expires_at)}. Then choose a name again.`,
    ),
  )
}

function memberOf(push: Pushes['member']): MemberDoc | { user: MemberDoc['user']; left: true } | null {
  if (push.left === true) return { user: push.user, left: true }
  return push.role === undefined ? null : { user: push.user, role: push.role, muted_until: 0 }
}
