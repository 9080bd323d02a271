// The application of tests/support/plain.py on the reference server, to compare ours with. Its one argument is the
// options as JSON, in seconds and bytes; its one line of output is where it listens. It ends with its input.

import { createReadStream } from 'node:fs'
import { createServer } from 'node:http'
import { Server } from 'socket.io'

const options = JSON.parse(process.argv[2])
const files = new URL('.', import.meta.url)
const pages = new Map([
  ['/', ['page.html', 'text/html']],
  ['/clients/page.mjs', ['page.mjs', 'text/javascript']],
  ['/clients/commands.mjs', ['commands.mjs', 'text/javascript']],
  ['/clients/client40.js', ['node_modules/client40/dist/socket.io.min.js', 'text/javascript']],
  ['/clients/client4.js', ['node_modules/client4/dist/socket.io.min.js', 'text/javascript']],
])

const http = createServer((request, response) => {
  const [file, type] = pages.get(request.url) ?? []
  if (file === undefined) {
    response.writeHead(404).end()
  } else {
    response.writeHead(200, { 'Content-Type': type })
    createReadStream(new URL(file, files)).pipe(response)
  }
})

const io = new Server(http, {
  pingInterval: options.ping_interval_s * 1000,
  pingTimeout: options.ping_timeout_s * 1000,
  connectTimeout: options.connect_timeout_s * 1000,
  upgradeTimeout: options.upgrade_timeout_s * 1000,
  maxHttpBufferSize: options.max_packet_bytes,
  serveClient: false,
})

function split(args) {
  return typeof args.at(-1) === 'function' ? [args.slice(0, -1), args.at(-1)] : [args, () => {}]
}

const handlers = {
  auth: (socket) => [socket.handshake.auth],
  message(socket, ...args) {
    socket.emit('message-back', ...args)
    return []
  },
  echo: (socket, ...args) => args,
  ask: async (socket, ...args) => [await socket.emitWithAck('question', ...args)],
  join(socket, room) {
    socket.join(room)
    return []
  },
  leave(socket, room) {
    socket.leave(room)
    return []
  },
  broadcast(socket, room, value) {
    socket.nsp.to(room).emit('said', value)
    return []
  },
  burst(socket, count) {
    for (let number = 0; number < count; number += 1) socket.emit('tick', number)
    return []
  },
  kick(socket) {
    socket.disconnect()
    return []
  },
  drop(socket) {
    socket.conn.close()
    return []
  },
}

for (const name of ['/', '/custom']) {
  const namespace = io.of(name)
  namespace.use((socket, next) => {
    const refusal = new Error('Not authorized')
    refusal.data = { code: 'nobody' }
    next(socket.handshake.auth.refuse ? refusal : undefined)
  })
  namespace.on('connection', (socket) => {
    for (const [event, handler] of Object.entries(handlers)) {
      socket.on(event, async (...given) => {
        const [args, acknowledge] = split(given)
        acknowledge(...(await handler(socket, ...args)))
      })
    }
    socket.on('disconnect', () => io.of('/').to('watchers').emit('gone', { namespace: name, sid: socket.id }))
  })
}

process.stdin.on('end', () => process.exit(0)).resume()
http.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${http.address().port}`))
