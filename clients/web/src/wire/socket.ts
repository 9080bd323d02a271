import { io, type Socket } from 'socket.io-client'
import { BAD_ANSWER, isErrorObject, isRecord, NO_ANSWER } from './errors'
import type { Calls, Hints, Pushes } from './events'
import type { CallTable, Result, Wire } from './wire'

/** Longer than the service takes for anything; after it the outcome of a call is unknown. */
const ANSWER_TIMEOUT_MS = 10_000

/** The page is worth little while it is apart from the service, so it tries again soon. */
const RECONNECT_DELAY_MS = 500
const RECONNECT_DELAY_MAX_MS = 5_000

/** The stock client on a namespace, not yet connected. */
export function makeSocket(token: string, origin: string, namespace: '/chat' | '/admin' = '/chat'): Socket {
  return io(origin + namespace, {
    path: '/socket.io/',
    auth: { token },
    autoConnect: false,
    forceNew: true,
    reconnectionDelay: RECONNECT_DELAY_MS,
    reconnectionDelayMax: RECONNECT_DELAY_MAX_MS,
  })
}

/** The wire over a stock socket. Calls fail at once while it is apart: nothing is kept back to be sent later. */
export class SocketWire<C extends CallTable<C> = Calls, P = Pushes, H = Hints> implements Wire<C, P, H> {
  constructor(private readonly socket: Socket) {}

  async call<N extends keyof C & string>(name: N, request: C[N]['request']): Promise<Result<C[N]['answer']>> {
    if (!this.socket.connected) return { ok: false, error: NO_ANSWER }
    let answer: unknown
    try {
      answer = await this.socket.timeout(ANSWER_TIMEOUT_MS).emitWithAck(name, request)
    } catch {
      return { ok: false, error: NO_ANSWER }
    }
    return readAnswer<C[N]['answer']>(answer)
  }

  hint<N extends keyof H & string>(name: N, hint: H[N]): void {
    if (this.socket.connected) this.socket.volatile.emit(name, hint)
  }

  on<N extends keyof P & string>(name: N, listener: (push: P[N]) => void): void {
    const untyped: (push: unknown) => void = (push) => {
      if (isRecord(push)) listener(push as unknown as P[N])
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
