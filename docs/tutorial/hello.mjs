// Says hello in the lobby and prints what is said there. Run: npm install socket.io-client && node hello.mjs
import { io } from 'socket.io-client'

const url = process.argv[2] ?? 'http://127.0.0.1:8000'

const answer = await fetch(`${url}/api/guest`, {
  method: 'POST',
  headers: { 'Content-Type': 'application/json' },
  body: JSON.stringify({ name: 'Ada' }),
})
const { token } = await answer.json()

const chat = io(`${url}/chat`, { auth: { token } })
chat.on('connect_error', (error) => console.error(`refused: ${error.message}`))

// What this client has of the lobby: every change up to revision `since`, and the revision of each message.
let since, epoch
const held = new Map()

// A message as it is now: new, or changed. It may come in a page and as an event, so what is not newer is left out.
function show(message) {
  if (message.rev <= held.get(message.id)) return
  held.set(message.id, message.rev)
  console.log(`${message.rev}. ${message.sender.name}: ${message.body}`)
}

// One thing after the other: an event that comes while join() is at work is dealt with when that has ended.
let turn = Promise.resolve()
const inTurn = (work) => (turn = turn.then(work, work))

chat.on('message', (message) =>
  inTurn(() => {
    show(message)
    if (message.rev === since + 1) since += 1
  }),
)

// Every request is acknowledged with {ok: true, data} or {ok: false, error}.
async function request(event, fields) {
  const ack = await chat.emitWithAck(event, { room: 'lobby', ...fields })
  if (!ack.ok) throw new Error(ack.error.code)
  return ack.data
}

// Subscribes this connection. The first time there is no `since`, and the page is the newest; later, what was missed.
async function join() {
  let page = await request('room:join', { since, epoch })
  epoch = page.room.epoch
  for (;;) {
    if (page.outcome === 'reset') held.clear() // What it had is of another history, such as before a back-up was put back.
    page.messages.forEach(show)
    since = page.next
    if (since >= page.head) return
    page = await request('history:sync', { since, epoch })
  }
}

// The key makes it safe to say this again on every connection: it is stored once.
const key = crypto.randomUUID()

// Comes for each connection, so again after a break.
chat.on('connect', async () => {
  try {
    // That the lobby is there already is fine.
    await chat.emitWithAck('room:create', { id: 'lobby', title: 'Lobby', kind: 'public' })
    await inTurn(join)
    const { message } = await request('message:send', { key, body: 'Hello! Is the bot here?' })
    console.log(`stored as number ${message.seq}`)
  } catch (error) {
    console.error(`not done: ${error.message}`)
  }
})
