import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Sender } from '../../src/sync/sender'
import { Subscriber } from '../../src/sync/subscriber'
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
  return { ...context, sender, subscriber, pass }
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
    const { wire, sender, room, pass } = await setUp()
    sender.maxBody = 5
    sender.post('lobby', '👍👍👍👍👍👍', null)
    sender.post('lobby', '👍👍👍👍👍', null)
    await pass()
    expect(wire.countOf('message:send')).toBe(1)
    expect(bodies(room())).toEqual(['👍👍👍👍👍'])
    expect(room().outbox).toMatchObject([{ status: 'failed', error: { code: 'too_large' } }])
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
