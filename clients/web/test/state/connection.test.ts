import { describe, expect, it } from 'vitest'
import { connectionAfter, describeConnection, FRESH, type ConnectionEvent } from '../../src/state/connection'

const after = (...events: ConnectionEvent[]) => events.reduce(connectionAfter, FRESH)

describe('the connection state', () => {
  it('is connecting until the service has said hello', () => {
    expect(after().shown.state).toBe('connecting')
    expect(after({ type: 'unreachable', hasNetwork: true }).shown.state).toBe('connecting')
    expect(after({ type: 'hello' }).shown.state).toBe('online')
  })

  it('is reconnecting while the client comes back by itself, with what the service said on leaving', () => {
    const memory = after(
      { type: 'hello' },
      { type: 'closing', message: 'This node is going away.' },
      { type: 'lost', returns: true, hasNetwork: true },
      { type: 'unreachable', hasNetwork: true },
    )
    expect(memory.shown).toEqual({ state: 'reconnecting', reason: 'This node is going away.' })
  })

  it('is offline without a network, or when the connection was ended for good', () => {
    expect(after({ type: 'hello' }, { type: 'lost', returns: false, hasNetwork: true }).shown.state).toBe(
      'offline',
    )
    expect(after({ type: 'unreachable', hasNetwork: false }).shown.state).toBe('offline')
  })

  it('names the code of a refusal', () => {
    const error = { code: 'banned' as const, message: 'No.', retryable: false }
    expect(describeConnection(after({ type: 'refused', error }).shown)).toBe('Refused: banned')
  })
})
