import type { Socket } from 'socket.io-client'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { INITIAL, type State } from '../../src/state/state'
import { Store } from '../../src/state/store'
import { Link } from '../../src/sync/link'
import type { ErrorObject } from '../../src/wire/errors'

beforeEach(() => vi.useFakeTimers())
afterEach(() => vi.useRealTimers())

/** As much of the stock socket as the link touches. */
class FakeSocket {
  active = true
  connected = false
  connects = 0
  private readonly listeners = new Map<string, (argument: unknown) => void>()

  on(name: string, listener: (argument: unknown) => void): this {
    this.listeners.set(name, listener)
    return this
  }
  connect(): this {
    this.connects += 1
    return this
  }
  disconnect(): this {
    return this
  }
  happen(name: string, argument?: unknown): void {
    this.listeners.get(name)?.(argument)
  }
}

function setUp() {
  const socket = new FakeSocket()
  const store = new Store<State>(INITIAL)
  const lost: ErrorObject[] = []
  const apart = vi.fn()
  const network = { there: true }
  const hooks = { onApart: apart, onIdentityLost: (error: ErrorObject) => lost.push(error) }
  const link = new Link(socket as unknown as Socket, store, hooks, () => network.there)
  link.start()
  const state = () => store.get().connection.shown.state
  return { socket, link, lost, apart, network, state }
}

function refuse(socket: FakeSocket, code: string, retryable: boolean, retryAfterS?: number): void {
  socket.active = false
  const data = {
    code,
    message: 'No.',
    retryable,
    ...(retryAfterS === undefined ? {} : { retry_after: retryAfterS }),
  }
  socket.happen('connect_error', Object.assign(new Error(code), { data }))
}

describe('a link', () => {
  it('is online with the hello, and reconnecting when the transport goes', () => {
    const { socket, link, apart, state } = setUp()
    expect(state()).toBe('connecting')
    link.greeted()
    expect(state()).toBe('online')
    socket.happen('disconnect', 'transport close')
    expect(state()).toBe('reconnecting')
    expect(apart).toHaveBeenCalledOnce()
    link.greeted()
    expect(state()).toBe('online')
  })

  it('is offline while the device has no network, and hurries when it is back', () => {
    const { socket, link, network, state } = setUp()
    link.greeted()
    network.there = false
    socket.happen('disconnect', 'transport close')
    expect(state()).toBe('offline')
    network.there = true
    link.networkChanged()
    expect(state()).toBe('reconnecting')
    expect(socket.connects).toBe(2)
  })

  it.each(['unauthorized', 'token_expired'])('gives the identity up when it is refused as %s', (code) => {
    const { socket, lost } = setUp()
    refuse(socket, code, false)
    expect(lost).toMatchObject([{ code }])
    vi.advanceTimersByTime(600_000)
    expect(socket.connects).toBe(1)
  })

  it('gives the identity up when the token ends in the connection', () => {
    const { socket, link, lost } = setUp()
    link.greeted()
    link.announced({ code: 'token_expired', message: 'Over.', reconnect: false })
    socket.active = false
    socket.happen('disconnect', 'io server disconnect')
    expect(lost).toMatchObject([{ code: 'token_expired' }])
  })

  it('tries a retryable refusal again, not before the service asked for it', () => {
    const { socket, state } = setUp()
    refuse(socket, 'rate_limited', true, 30)
    expect(state()).toBe('refused')
    vi.advanceTimersByTime(29_000)
    expect(socket.connects).toBe(1)
    vi.advanceTimersByTime(2_000)
    expect(socket.connects).toBe(2)
  })

  it('leaves a refusal for good, and a farewell for good, to the user', () => {
    const { socket, link, state } = setUp()
    refuse(socket, 'banned', false)
    expect(state()).toBe('refused')
    link.start()
    link.greeted()
    link.announced({ code: 'banned', message: 'Goodbye.', reconnect: false })
    socket.happen('disconnect', 'io server disconnect')
    expect(state()).toBe('offline')
    vi.advanceTimersByTime(600_000)
    expect(socket.connects).toBe(2)
  })
})
