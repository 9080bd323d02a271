// The stock JavaScript client as a process: one JSON document per line, commands in, replies and news out.
//
// Commands: {id, do: "connect", url, namespace, options} | {id, do: "call", event, args} | {id, do: "emit", event, args}
//           | {id, do: "transport"} | {id, do: "disconnect"}
// Replies:  {reply: id, value} | {reply: id, error}
// News:     {event, args} | {refused: {message, data}} | {disconnected: reason} | {connected: true}

import { createInterface } from 'node:readline'
import { io } from 'socket.io-client'

const ACK_TIMEOUT_MS = 20_000

let socket = null

function say(document) {
  process.stdout.write(`${JSON.stringify(document)}\n`)
}

const commands = {
  connect({ url, namespace, options }) {
    socket = io(url + namespace, { forceNew: true, ...options })
    socket.onAny((event, ...args) => say({ event, args }))
    socket.on('connect', () => say({ connected: true }))
    socket.on('connect_error', (error) => say({ refused: { message: error.message, data: error.data ?? null } }))
    socket.on('disconnect', (reason) => say({ disconnected: reason }))
  },
  call: ({ event, args }) => socket.timeout(ACK_TIMEOUT_MS).emitWithAck(event, ...args),
  emit({ event, args }) {
    socket.emit(event, ...args)
  },
  transport: () => socket.io.engine.transport.name,
  disconnect() {
    socket.disconnect()
  },
}

async function run(command) {
  try {
    say({ reply: command.id, value: (await commands[command.do](command)) ?? null })
  } catch (error) {
    say({ reply: command.id, error: String(error) })
  }
}

const lines = createInterface({ input: process.stdin })
lines.on('line', (line) => void run(JSON.parse(line)))
lines.on('close', () => process.exit(0))
