// What the Python tests have a stock client do: the same in Node and on a page.
//
// Bytes travel as {"$bytes": base64}. News: {client, connected: sid, transport} | {client, disconnected: reason}
// | {client, refused: {message, data}} | {client, event, args}.

function pack(value) {
  if (value instanceof ArrayBuffer) return pack(new Uint8Array(value))
  if (ArrayBuffer.isView(value)) return { $bytes: btoa(String.fromCharCode(...value)) }
  if (Array.isArray(value)) return value.map(pack)
  if (value === null || typeof value !== 'object') return value ?? null
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, pack(inner)]))
}

function unpack(value) {
  if (Array.isArray(value)) return value.map(unpack)
  if (value === null || typeof value !== 'object') return value
  if ('$bytes' in value) return Uint8Array.from(atob(value.$bytes), (character) => character.charCodeAt(0))
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, unpack(inner)]))
}

const turn = () => new Promise((resolve) => setTimeout(resolve))

export function makeCommands(versions, say) {
  const sockets = new Map()

  return {
    open({ client, version, url, namespace, options }) {
      const socket = versions[version](url + namespace, { forceNew: true, reconnectionDelay: 10, ...options })
      sockets.set(client, socket)
      socket.on('connect', () => say({ client, connected: socket.id, transport: socket.io.engine.transport.name }))
      socket.on('connect_error', ({ message, data }) => say({ client, refused: { message, data: data ?? null } }))
      socket.on('disconnect', (reason) => say({ client, disconnected: reason }))
      socket.on('question', (...args) => args.pop()(...args))
      socket.onAny((event, ...args) => {
        say({ client, event, args: pack(args.filter((arg) => typeof arg !== 'function')) })
      })
      return null
    },

    call: ({ client, event, args }) =>
      new Promise((resolve) => {
        sockets.get(client).emit(event, ...unpack(args), (...answer) => resolve(pack(answer)))
      }),

    emit({ client, event, args }) {
      sockets.get(client).emit(event, ...unpack(args))
      return null
    },

    // Sends the numbers below `count`, one in a turn, the last quarter only when the connection is on `transport`.
    // Returns on which transport each was sent.
    async stream({ client, event, count, transport }) {
      const socket = sockets.get(client)
      const ways = []
      while (ways.length < count) {
        const way = socket.io.engine.transport.name
        if (ways.length < count * 0.75 || way === transport) {
          socket.emit(event, ways.length)
          ways.push(way)
        }
        await turn()
      }
      return ways
    },

    transport: ({ client }) => sockets.get(client).io.engine.transport.name,

    close({ client }) {
      sockets.get(client).disconnect()
      sockets.delete(client)
      return null
    },
  }
}
