import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Store } from '../../src/state/store'
import { Sender } from '../../src/sync/sender'
import { Subscriber } from '../../src/sync/subscriber'
import { makeEntry } from '../../src/state/outbox'
import { withRoom, type State } from '../../src/state/state'
import { NO_ANSWER } from '../../src/wire/errors'
import { bodies, makeContext } from '../support/context'

beforeEach(() => vi.useFakeTimers())
afterEach(() => vi.useRealTimers())

async function setUp() {
  const context = makeContext()
  let keys = 0
  const sender = new Sender(context, () => `k${++keys}`)
  const subscriber = new Subscriber(context, (room) => void sender.flush(room))
  await subscriber.join('lobby')
  const pass = () => vi.advanceTimersByTimeAsync(60_000)
  /** From now on a frame with this body ends the connection. */
  const breakAt = (deadly: string) => {
    const call = context.wire.call.bind(context.wire)
    vi.spyOn(context.wire, 'call').mockImplementation((name, request) => {
      if (!('body' in request) || request.body !== deadly) return call(name, request)
      context.wire.calls.push({ name, request })
      subscriber.setApart('lobby')
      context.goOffline()
      return Promise.resolve({ ok: false, error: NO_ANSWER })
    })
  }
  const comeBack = () => {
    context.goOnline()
    return subscriber.join('lobby')
  }
  return { ...context, sender, subscriber, pass, breakAt, comeBack }
}

function limit(store: Store<State>, body: number): void {
  store.update((state) => ({ ...state, limits: { body } }))
}

describe('a sender', () => {
  it('sends in the order of writing and empties the outbox', async () => {
    const { wire, sender, room, pass } = await setUp()
    for (const body of ['one', 'two', 'three']) sender.post('lobby', body, null)
    expect(room().outbox).toHaveLength(3)
    await pass()
    expect(wire.bySeq().map((held) => held.body)).toEqual(['one', 'two', 'three'])
    expect(room().outbox).toEqual([])
    expect(bodies(room())).toEqual(['one', 'two', 'three'])
  })

  it('repeats under the same key what was stored but never acknowledged, and shows it once', async () => {
    const { wire, sender, room, pass } = await setUp()
    wire.failNext('message:send', 'lost')
    sender.post('lobby', 'one', null)
    sender.post('lobby', 'two', null)
    await pass()
    expect(wire.countOf('message:send')).toBe(3)
    expect(bodies(room())).toEqual(['one', 'two'])
    expect(wire.head).toBe(2)
  })

  it('keeps a refused message until the user decides, and sends the others', async () => {
    const { wire, sender, room, pass } = await setUp()
    wire.failNext('message:send', { code: 'too_large', message: '', retryable: false })
    sender.post('lobby', 'huge', null)
    sender.post('lobby', 'fine', null)
    await pass()
    expect(bodies(room())).toEqual(['fine'])
    expect(room().outbox).toMatchObject([{ body: 'huge', status: 'failed', error: { code: 'too_large' } }])
    sender.retry('lobby', 'k1')
    await pass()
    expect(bodies(room())).toEqual(['fine', 'huge'])
  })

  it('never sends what the service says is too long, and goes on with the others', async () => {
    const { wire, store, sender, room, pass } = await setUp()
    limit(store, 5)
    sender.post('lobby', '👍👍👍👍👍👍', null)
    sender.post('lobby', '👍👍👍👍👍', null)
    await pass()
    expect(wire.countOf('message:send')).toBe(1)
    expect(bodies(room())).toEqual(['👍👍👍👍👍'])
    expect(room().outbox).toMatchObject([{ status: 'failed', error: { code: 'too_large' } }])
  })

  it('fails what is too long at once, also while the room is apart, and again when it is tried again', async () => {
    const { wire, store, sender, subscriber, room, pass } = await setUp()
    limit(store, 5)
    subscriber.setApart('lobby')
    sender.post('lobby', 'longer', null)
    expect(room().outbox).toMatchObject([{ status: 'failed', error: { code: 'too_large' } }])
    await subscriber.join('lobby')
    sender.retry('lobby', 'k1')
    expect(room().outbox).toMatchObject([{ status: 'failed' }])
    await pass()
    expect(wire.countOf('message:send')).toBe(0)
  })

  it('fails what an earlier life of the page left too long, and sends what stood behind it', async () => {
    const { wire, store, subscriber, room, pass } = await setUp()
    limit(store, 5)
    subscriber.setApart('lobby')
    const outbox = [makeEntry('old1', 'longer', null, 1), makeEntry('old2', 'after', null, 2)]
    store.update((state) => withRoom(state, 'lobby', (held) => ({ ...held, outbox })))
    await subscriber.join('lobby')
    await pass()
    expect(wire.countOf('message:send')).toBe(1)
    expect(bodies(room())).toEqual(['after'])
    expect(room().outbox).toMatchObject([{ key: 'old1', status: 'failed', error: { code: 'too_large' } }])
  })

  it('gives a message up with which three connections in a row were lost, and sends the others', async () => {
    const { wire, sender, room, breakAt, comeBack, pass } = await setUp()
    breakAt('deadly')
    sender.post('lobby', 'deadly', null)
    sender.post('lobby', 'fine', null)
    for (let loss = 1; loss <= 3; loss++) {
      await pass()
      expect(wire.countOf('message:send')).toBe(loss)
      await comeBack()
    }
    await pass()
    expect(bodies(room())).toEqual(['fine'])
    expect(room().outbox).toMatchObject([
      { body: 'deadly', status: 'failed', error: { code: 'connection_lost' } },
    ])
  })

  it('waits while the room is apart, and sends when it is joined again', async () => {
    const { wire, sender, subscriber, room, pass } = await setUp()
    subscriber.setApart('lobby')
    sender.post('lobby', 'meanwhile', null)
    await pass()
    expect(wire.countOf('message:send')).toBe(0)
    await subscriber.join('lobby')
    await pass()
    expect(bodies(room())).toEqual(['meanwhile'])
    expect(room().outbox).toEqual([])
  })

  it('does not wait on when the connection has come back', async () => {
    const { wire, sender, subscriber, room } = await setUp()
    for (let failure = 0; failure < 5; failure++) {
      wire.failNext('message:send', { code: 'unavailable', message: '', retryable: true })
    }
    sender.post('lobby', 'one', null)
    await vi.advanceTimersToNextTimerAsync()
    await vi.advanceTimersToNextTimerAsync()
    await vi.advanceTimersToNextTimerAsync()
    await vi.advanceTimersToNextTimerAsync()
    expect(wire.countOf('message:send')).toBe(5)
    await subscriber.rejoin('lobby')
    await vi.advanceTimersByTimeAsync(0)
    expect(bodies(room())).toEqual(['one'])
  })
})
