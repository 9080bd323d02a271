import type { Socket } from 'socket.io-client'
import { describe, expect, it } from 'vitest'
import { AdminClient, NOT_SENT, type AdminWire } from '../../src/admin/client'
import type { AdminCalls, AdminPushes } from '../../src/admin/events'
import { NO_ANSWER, type ErrorObject } from '../../src/wire/errors'
import type { Result } from '../../src/wire/wire'

const HELLO: AdminPushes['hello'] = {
  user: { id: 'ada', name: 'Ada', guest: false },
  node: 'n1',
  version: '0.1.0',
}

type Answers = { [N in keyof AdminCalls]?: Result<AdminCalls[N]['answer']> }

/** The wire, with what each event is answered; what is not listed succeeds with nothing. */
class FakeWire {
  readonly calls: [string, unknown][] = []
  answers: Answers = {}
  private readonly listeners = new Map<string, (push: never) => void>()

  call(name: keyof AdminCalls, request: unknown): Promise<unknown> {
    this.calls.push([name, request])
    return Promise.resolve(this.answers[name] ?? { ok: true, data: {} })
  }
  hint(): void {}
  on(name: string, listener: (push: never) => void): void {
    this.listeners.set(name, listener)
  }
  push<N extends keyof AdminPushes>(name: N, push: AdminPushes[N]): void {
    ;(this.listeners.get(name) as ((push: AdminPushes[N]) => void) | undefined)?.(push)
  }
}

class FakeSocket {
  active = true
  readonly listeners = new Map<string, (argument?: unknown) => void>()
  on(name: string, listener: (argument?: unknown) => void): this {
    this.listeners.set(name, listener)
    return this
  }
  connect(): this {
    return this
  }
}

function setUp() {
  const wire = new FakeWire()
  const socket = new FakeSocket()
  const lost: ErrorObject[] = []
  const client = new AdminClient(
    socket as unknown as Socket,
    (error) => lost.push(error),
    wire as unknown as AdminWire,
  )
  const state = () => client.store.get()
  const dropTransport = () => {
    Object.defineProperty(globalThis, 'navigator', { value: { onLine: true }, configurable: true })
    socket.listeners.get('disconnect')?.('transport close')
  }
  return { wire, socket, client, lost, state, dropTransport }
}

describe('an action', () => {
  it('is said to be done once the service said so', async () => {
    const { wire, client, state } = setUp()
    wire.push('hello', HELLO)
    expect(await client.act('user:unban', { user: 'bob' }, 'Done.')).toBeNull()
    expect(wire.calls).toEqual([['user:unban', { user: 'bob' }]])
    expect(state().said?.text).toBe('Done.')
    const before = state().said?.id
    await client.act('user:unban', { user: 'bob' }, 'Done.')
    expect(state().said?.id).not.toBe(before)
  })

  it("fails with the service's error, and nothing is said to be done", async () => {
    const { wire, client, state } = setUp()
    wire.push('hello', HELLO)
    const error: ErrorObject = { code: 'not_found', message: 'Nobody has it.', retryable: false }
    wire.answers = { 'user:unban': { ok: false, error } }
    expect(await client.act('user:unban', { user: 'bob' }, 'Done.')).toEqual(error)
    expect(state().said).toBeNull()
  })

  it('is not sent while the page is apart, and says so', async () => {
    const { wire, client, dropTransport } = setUp()
    expect(await client.act('user:unban', { user: 'bob' }, 'Done.')).toEqual(NOT_SENT)
    wire.push('hello', HELLO)
    dropTransport()
    expect(await client.act('user:unban', { user: 'bob' }, 'Done.')).toEqual(NOT_SENT)
    expect(wire.calls).toEqual([])
  })

  it('without an answer points to the audit log', async () => {
    const { wire, client } = setUp()
    wire.push('hello', HELLO)
    wire.answers = { 'user:unban': { ok: false, error: NO_ANSWER } }
    expect((await client.act('user:unban', { user: 'bob' }, 'Done.'))?.message).toContain('audit log')
  })
})

describe('the figures', () => {
  it('are watched while somebody looks, and again after each return', () => {
    const { wire, client, state, dropTransport } = setUp()
    const stop = client.watchStats()
    expect(wire.calls).toEqual([])
    wire.push('hello', HELLO)
    dropTransport()
    wire.push('hello', HELLO)
    wire.push('stats', { users: 3 })
    expect(state().stats).toEqual({ users: 3 })
    stop()
    wire.push('hello', HELLO)
    expect(wire.calls.map(([, request]) => request)).toEqual([
      { every_ms: 2000 },
      { every_ms: 2000 },
      { every_ms: 0 },
    ])
  })

  it('that are refused are said to be, until they come', async () => {
    const { wire, client, state } = setUp()
    const error: ErrorObject = { code: 'forbidden', message: 'Not with this token.', retryable: false }
    wire.answers = { 'stats:watch': { ok: false, error } }
    client.watchStats()
    wire.push('hello', HELLO)
    await Promise.resolve()
    await Promise.resolve()
    expect(state().statsError).toEqual(error)
    wire.answers = {}
    wire.push('hello', HELLO)
    await Promise.resolve()
    await Promise.resolve()
    expect(state().statsError).toBeNull()
  })
})

describe('a list', () => {
  it('asks with the fields that are filled in', async () => {
    const { wire, client } = setUp()
    wire.answers = {
      'connections:list': { ok: true, data: { connections: [], cursor: null, missing: ['n2'] } },
    }
    await client.connections.search({ user: ' bob ', room: '', node: ' ' })
    expect(wire.calls).toEqual([['connections:list', { user: 'bob', limit: 50 }]])
    expect(client.connections.store.get()).toMatchObject({ rows: [], missing: ['n2'] })
  })
})

describe('a token', () => {
  it.each(['forbidden', 'unauthorized', 'token_expired', 'banned'])(
    'is given up when the service refuses it as %s',
    (code) => {
      const { socket, lost } = setUp()
      socket.active = false
      const data = { code, message: 'No.', retryable: false }
      socket.listeners.get('connect_error')?.(Object.assign(new Error(code), { data }))
      expect(lost).toEqual([data])
    },
  )

  it('is given up when its role is taken away in the connection', () => {
    const { wire, socket, lost } = setUp()
    wire.push('hello', HELLO)
    wire.push('closing', { code: 'forbidden', message: 'No longer.', reconnect: false })
    socket.active = false
    socket.listeners.get('disconnect')?.('io server disconnect')
    expect(lost).toMatchObject([{ code: 'forbidden', message: 'No longer.' }])
  })

  it('that is about to end is said to be', () => {
    const { wire, state } = setUp()
    wire.push('hello', HELLO)
    wire.push('token:expiring', { expires_at: 5 })
    expect(state().tokenEndsAt).toBe(5)
  })
})
