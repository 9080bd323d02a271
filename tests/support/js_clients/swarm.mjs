// Many stock JavaScript clients in `/chat` that write, lose their connections and come back, as an application would.
//
// The first line in is {url, clients: [{name, token, transports, rooms, everyMs}]}; {do: "stop"} ends the writing, the
// end of the input ends everything. Out go the news that tests/support/rolling_judge.py judges, a line each, in order.
// Nothing of the client is set but its transports: how long it waits before it comes back is its own default.

import { createInterface } from 'node:readline'
import { io } from 'client4'

const OUTSTANDING_MOST = 5
// The service answers within 30 s whatever hangs, or ends the connection.
const ACK_TIMEOUT_MS = 45_000
const APART_MS = 15

const say = (document) => process.stdout.write(`${JSON.stringify(document)}\n`)
// As long as the service asks for, and not all at once.
const pauseMs = (error) => (error.retry_after ?? 1) * 1000 * (0.5 + Math.random())
const now = () => Date.now() / 1000
let stopped = false

function open(url, { name, token, transports, rooms, everyMs }) {
  const tell = (is, more) => say({ client: name, is, ...more })
  const socket = io(`${url}/chat`, { forceNew: true, transports, auth: { token } })
  const states = new Map(rooms.map((room) => [room, { epoch: undefined, synced: 0, expected: 0, paging: false }]))
  let connection = 0
  let outstanding = 0
  let count = 0

  // Asks until there is an answer; `then` is called before any later packet is looked at. Ends with the connection.
  function ask(event, request, then) {
    const asked = connection
    socket.timeout(ACK_TIMEOUT_MS).emit(event, request, (error, ack) => {
      if (asked !== connection) return
      if (error) tell('trouble', { text: `${event} had no ack: ${error}` })
      else if (ack.ok) then(ack.data)
      else if (ack.error.retryable) setTimeout(() => asked === connection && ask(event, request, then), pauseMs(ack.error))
      else tell('trouble', { text: `${event} was refused: ${JSON.stringify(ack)}` })
    })
  }

  // Whoever has never been in its rooms may not write there yet.
  let missing = rooms.length
  function entered() {
    missing -= 1
    if (missing === 0) setTimeout(write, everyMs * Math.random())
  }

  function paged(room, state, since, data, is) {
    tell(is, { room, since, data })
    state.paging = data.next < data.head
    state.synced = state.paging ? data.next : Math.max(data.next, state.expected - 1)
    if (state.paging) {
      const from = data.next
      ask('history:sync', { room, since: from, epoch: state.epoch, limit: 200 }, (more) =>
        paged(room, state, from, more, 'paged'),
      )
    }
  }

  function join(room) {
    const state = states.get(room)
    const since = state.synced
    ask('room:join', { room, since, ...(since > 0 && { epoch: state.epoch }), limit: 200 }, (data) => {
      const isFirst = state.epoch === undefined
      state.epoch = data.room.epoch
      state.expected = data.head + 1
      paged(room, state, since, data, 'joined')
      if (isFirst) entered()
    })
  }

  // The stock client keeps what is sent while it is away, and sends it as soon as it is back, before `connect`.
  function send(request, first) {
    socket.timeout(ACK_TIMEOUT_MS).emit('message:send', request, (error, ack) => {
      if (!error && ack.ok) {
        outstanding -= 1
        tell('acked', { room: request.room, key: request.key, data: ack.data, first })
      } else if (error || ack.error.retryable) {
        tell('unknown', { at: now(), code: error ? 'no ack' : ack.error.code })
        setTimeout(() => send(request, false), error ? 0 : pauseMs(ack.error))
      } else {
        tell('trouble', { text: `message:send was refused: ${JSON.stringify(ack)}` })
      }
    })
  }

  function write() {
    if (stopped) return
    setTimeout(write, everyMs * (0.5 + Math.random()))
    if (outstanding >= OUTSTANDING_MOST) return
    count += 1
    outstanding += 1
    const request = { room: rooms[count % rooms.length], key: `k${count}`, body: `${name} says ${count}` }
    tell('sending', { ...request, away: !socket.connected })
    send(request, true)
  }

  socket.on('connect', () => {
    connection += 1
    rooms.forEach(join)
  })
  socket.on('hello', ({ node }) => tell('open', { node, at: now() }))
  socket.on('disconnect', (reason) => {
    connection += 1
    tell('lost', { reason, at: now() })
  })
  socket.on('connect_error', ({ message }) => tell('refused', { reason: message, at: now() }))
  socket.on('message', (data) => {
    tell('message', { data })
    const state = states.get(data.room)
    state.expected = data.rev + 1
    if (!state.paging) state.synced = Math.max(state.synced, data.rev)
  })
  socket.on('gap', (data) => {
    tell('gap', { data })
    join(data.room)
  })
  for (const event of ['draining', 'closing']) socket.on(event, (data) => tell(event, { data, at: now() }))
}

let begun = false
const lines = createInterface({ input: process.stdin })
lines.on('line', (line) => {
  const command = JSON.parse(line)
  if (begun) {
    stopped = true
    return
  }
  begun = true
  command.clients.forEach((client, number) => setTimeout(() => open(command.url, client), number * APART_MS))
})
lines.on('close', () => process.exit(0))
