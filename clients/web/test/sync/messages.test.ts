import { describe, expect, it } from 'vitest'
import { hasMoreBefore } from '../../src/state/timeline'
import { Messages } from '../../src/sync/messages'
import { Subscriber } from '../../src/sync/subscriber'
import { bodies, makeContext } from '../support/context'

describe('reading back', () => {
  it('fetches older pages until the room begins', async () => {
    const context = makeContext()
    const { wire, room } = context
    for (let number = 1; number <= 120; number++) wire.post(String(number))
    await new Subscriber(context, () => undefined).join('lobby')
    const messages = new Messages(context)
    expect(bodies(room())).toHaveLength(50)
    await Promise.all([messages.loadOlder('lobby'), messages.loadOlder('lobby')])
    expect(bodies(room())).toHaveLength(100)
    await messages.loadOlder('lobby')
    await messages.loadOlder('lobby')
    expect(bodies(room())).toEqual(wire.bySeq().map((held) => held.body))
    expect(hasMoreBefore(room().timeline)).toBe(false)
    expect(wire.countOf('history:fetch')).toBe(2)
  })
})
