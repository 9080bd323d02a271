import { describe, expect, it } from 'vitest'
import { withRoom } from '../../src/state/state'
import { fromNewestPage, hasMoreBefore } from '../../src/state/timeline'
import { Messages } from '../../src/sync/messages'
import { Subscriber } from '../../src/sync/subscriber'
import { messages } from '../support/documents'
import { bodies, makeContext } from '../support/context'

describe('reading back', () => {
  it('fetches older pages until the room begins', async () => {
    const context = makeContext()
    const { wire, room } = context
    for (let number = 1; number <= 120; number++) wire.post(String(number))
    await new Subscriber(context, () => undefined).join('lobby')
    const reading = new Messages(context)
    expect(bodies(room())).toHaveLength(50)
    await Promise.all([reading.loadOlder('lobby'), reading.loadOlder('lobby')])
    expect(bodies(room())).toHaveLength(100)
    await reading.loadOlder('lobby')
    await reading.loadOlder('lobby')
    expect(bodies(room())).toEqual(wire.bySeq().map((held) => held.body))
    expect(hasMoreBefore(room().timeline)).toBe(false)
    expect(wire.countOf('history:fetch')).toBe(2)
  })

  it('does not put a page before another run than it was asked for', async () => {
    const context = makeContext()
    const { wire, store, room } = context
    for (let number = 1; number <= 80; number++) wire.post(String(number))
    await new Subscriber(context, () => undefined).join('lobby')
    const loading = new Messages(context).loadOlder('lobby')
    const timeline = fromNewestPage(messages(200, 202))
    store.update((state) => withRoom(state, 'lobby', (held) => ({ ...held, timeline })))
    await loading
    expect(room().timeline).toBe(timeline)
    expect(room().loadingBefore).toBe(false)
  })
})

describe('an edit', () => {
  it('that is too long is not sent, and the user is told', async () => {
    const { wire, store, ...context } = makeContext()
    store.update((state) => ({ ...state, limits: { body: 5 } }))
    const editing = new Messages({ ...context, wire, store })
    expect(editing.fits('short')).toBe(true)
    expect(await editing.edit(wire.post('one'), 'longer')).toBe(false)
    expect(wire.countOf('message:edit')).toBe(0)
    expect(store.get().notices).toMatchObject([{ level: 'error', text: 'That is too long.' }])
  })
})
