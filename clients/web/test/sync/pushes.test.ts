import { describe, expect, it } from 'vitest'
import { Directory } from '../../src/sync/directory'
import { listen } from '../../src/sync/pushes'
import { Subscriber } from '../../src/sync/subscriber'
import { message } from '../support/documents'
import { bodies, makeContext } from '../support/context'

async function setUp() {
  const context = makeContext()
  const subscriber = new Subscriber(context, () => undefined)
  listen(context, subscriber, new Directory(context, () => []))
  context.wire.post('one')
  await subscriber.join('lobby')
  return context
}

describe('what the service pushes', () => {
  it('is shown when it is a message', async () => {
    const { wire, room } = await setUp()
    wire.push('message', wire.post('two'))
    expect(bodies(room())).toEqual(['one', 'two'])
    expect(wire.countOf('room:join')).toBe(1)
  })

  it.each([
    [
      'a gap',
      (wire: Awaited<ReturnType<typeof setUp>>['wire']) => wire.push('gap', { room: 'lobby', head: 3 }),
    ],
    ['a hole', (wire: Awaited<ReturnType<typeof setUp>>['wire']) => wire.push('message', message(3))],
  ])('leads to a resume from the last known revision after %s', async (_, happen) => {
    const { wire, room } = await setUp()
    wire.post('two')
    wire.post('three')
    happen(wire)
    await Promise.resolve()
    await Promise.resolve()
    expect(wire.calls.at(-1)).toMatchObject({ name: 'room:join', request: { since: 1, epoch: 'e1' } })
    expect(bodies(room())).toContain('two')
    expect(room().subscription).toBe('live')
  })

  it('names who types, by the member list or by what they signed', async () => {
    const { wire, room } = await setUp()
    wire.push('typing', { room: 'lobby', user: 'bob', on: true })
    expect(Object.values(room().typists)).toMatchObject([{ name: 'Bob' }])
    wire.push('typing', { room: 'lobby', user: 'alice', on: true })
    expect(Object.keys(room().typists)).toEqual(['bob'])
  })

  it('takes a room away with a word about why', async () => {
    const { wire, store } = await setUp()
    wire.push('room:removed', { room: 'lobby', reason: 'kicked' })
    expect(store.get()).toMatchObject({ rooms: {}, current: null, notices: [{ level: 'warning' }] })
  })

  it.each([
    ['info', 'info'],
    ['warning', 'warning'],
    ['critical', 'error'],
  ])('is shown as a notice of the administrators of level %s', async (level, shown) => {
    const { wire, store } = await setUp()
    wire.push('notice', { level, text: 'Tea at five.' })
    wire.push('notice', { level, text: 'Tea at six.', room: 'lobby' })
    expect(store.get().notices).toMatchObject([
      { level: shown, text: 'Tea at five.' },
      { level: shown, text: 'Lobby: Tea at six.' },
    ])
  })
})
