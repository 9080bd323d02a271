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

// One event for each revision of the room: a new message, or an old one as it stands after a change.
chat.on('message', (message) => console.log(`${message.rev}. ${message.sender.name}: ${message.body}`))

// Every request is acknowledged with {ok: true, data} or {ok: false, error}. That the lobby is there already is fine.
await chat.emitWithAck('room:create', { id: 'lobby', title: 'Lobby', kind: 'public' })
await chat.emitWithAck('room:join', { room: 'lobby' })

// The key makes it safe to send this again when no ack came: it is stored once.
const key = crypto.randomUUID()
const ack = await chat.emitWithAck('message:send', { room: 'lobby', key, body: 'Hello! Is the bot here?' })
console.log(ack.ok ? `stored as number ${ack.data.message.seq}` : `refused: ${ack.error.code}`)
