import { io, type Socket } from 'socket.io-client'
import { BAD_ANSWER, isErrorObject, isRecord, NO_ANSWER } from './errors'
import type { CallName, Calls, Hints, PushName, Pushes } from './events'
import type { Result, Wire } from './wire'

/** Longer than the service takes for anything; after it the outcome of a call is unknown. */
const ANSWER_TIMEOUT_MS = 10_000

/** The page is worth little while it is apart from the service, so it tries again soon. */
const RECONNECT_DELAY_MS = 500
const RECONNECT_DELAY_MAX_MS = 5_000

/** The stock client on the namespace `/chat`, not yet connected. */
export function makeSocket(token: string, origin: string): Socket {
  return io(`${origin}/chat`, {
    path: '/socket.io/',
    auth: { token },
    autoConnect: false,
    forceNew: true,
    reconnectionDelay: RECONNECT_DELAY_MS,
    reconnectionDelayMax: RECONNECT_DELAY_MAX_MS,
  })
}

/** The wire over a stock socket. Calls fail at once while it is apart: nothing is kept back to be sent later. */
export class SocketWire implements Wire {
  constructor(private readonly socket: Socket) {}

  async call<N extends CallName>(name: N, request: Calls[N]['request']): Promise<Result<Calls[N]['answer']>> {
    if (!this.socket.connected) return { ok: false, error: NO_ANSWER }
    let answer: unknown
    try {
      answer = await this.socket.timeout(ANSWER_TIMEOUT_MS).emitWithAck(name, request)
    } catch {
      return { ok: false, error: NO_ANSWER }
    }
    return readAnswer<Calls[N]['answer']>(answer)
  }

  hint<N extends keyof Hints>(name: N, hint: Hints[N]): void {
    if (this.socket.connected) this.socket.volatile.emit(name, hint)
  }

  on<N extends PushName>(name: N, listener: (push: Pushes[N]) => void): void {
    const untyped: (push: unknown) => void = (push) => {
      if (isRecord(push)) listener(push as unknown as Pushes[N])
    }
    this.socket.on(name as string, untyped)
  }
}

/** An ack as a result; the service's own documents are trusted once the ack has the right shape. */
export function readAnswer<T>(answer: unknown): Result<T> {
  if (isRecord(answer)) {
    if (answer['ok'] === true && isRecord(answer['data'])) return { ok: true, data: answer['data'] as T }
    if (answer['ok'] === false && isErrorObject(answer['error'])) return { ok: false, error: answer['error'] }
  }
  return { ok: false, error: BAD_ANSWER }
}
