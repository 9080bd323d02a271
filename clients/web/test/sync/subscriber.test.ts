import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Subscriber } from '../../src/sync/subscriber'
import { bodies, makeContext } from '../support/context'

beforeEach(() => vi.useFakeTimers())
afterEach(() => vi.useRealTimers())

function setUp() {
  const context = makeContext()
  const live: string[] = []
  return { ...context, live, subscriber: new Subscriber(context, (room) => live.push(room)) }
}

describe('a subscriber', () => {
  it('joins with the newest page, and once only', async () => {
    const { wire, subscriber, room, live } = setUp()
    wire.post('one')
    await Promise.all([subscriber.join('lobby'), subscriber.join('lobby')])
    expect(bodies(room())).toEqual(['one'])
    expect(live).toEqual(['lobby'])
    expect(wire.countOf('room:join')).toBe(1)
  })

  it('resumes from where it was, through as many pages as there are', async () => {
    const { wire, subscriber, room, live } = setUp()
    wire.post('0')
    await subscriber.join('lobby')
    subscriber.setApart('lobby')
    for (let number = 1; number <= 25; number++) wire.post(String(number))
    wire.edit(1, 'zero')
    wire.page = 10
    await subscriber.join('lobby')
    expect(wire.calls.at(1)?.request).toMatchObject({ since: 1, epoch: 'e1' })
    expect(wire.countOf('history:sync')).toBe(2)
    expect(bodies(room())).toEqual(wire.bySeq().map((held) => held.body))
    expect(live).toHaveLength(2)
  })

  it('starts over when the room is another one than before', async () => {
    const { wire, subscriber, room } = setUp()
    wire.post('old')
    await subscriber.join('lobby')
    subscriber.setApart('lobby')
    wire.epoch = 'e2'
    wire.edit(1, 'new')
    await subscriber.join('lobby')
    expect(bodies(room())).toEqual(['new'])
    expect(room().position?.epoch).toBe('e2')
  })

  it('starts over when pages do not lead on', async () => {
    const { wire, subscriber, room } = setUp()
    wire.post('one')
    await subscriber.join('lobby')
    subscriber.setApart('lobby')
    wire.post('two')
    wire.page = 0
    await subscriber.join('lobby')
    expect(wire.countOf('history:sync')).toBe(1)
    expect(bodies(room())).toEqual(['one', 'two'])
    expect(room().subscription).toBe('live')
  })

  it('does not apply an answer to a question from before the connection was lost', async () => {
    const { wire, subscriber, room } = setUp()
    wire.post('one')
    const joining = subscriber.join('lobby')
    subscriber.setApart('lobby')
    await joining
    expect(room().subscription).toBe('apart')
    expect(bodies(room())).toEqual([])
  })

  it('tries again when the service cannot answer for now', async () => {
    const { wire, subscriber, room } = setUp()
    wire.failNext('room:join', { code: 'unavailable', message: '', retryable: true })
    const joining = subscriber.join('lobby')
    await vi.advanceTimersByTimeAsync(5_000)
    await joining
    expect(room().subscription).toBe('live')
  })

  it('keeps a member in the room and says why it cannot be joined', async () => {
    const { wire, subscriber, room } = setUp()
    wire.failNext('room:join', { code: 'banned', message: '', retryable: false })
    await subscriber.join('lobby')
    expect(room()).toMatchObject({ subscription: 'apart', error: { code: 'banned' } })
  })
})
