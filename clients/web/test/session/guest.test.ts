import { describe, expect, it } from 'vitest'
import { becomeGuest, nameProblem } from '../../src/session/guest'

const answering = (status: number, body: string) => () => Promise.resolve(new Response(body, { status }))

describe('becoming a guest', () => {
  it('yields the token', async () => {
    const result = await becomeGuest('Ann', answering(200, '{"token":"t","user":{}}'))
    expect(result).toEqual({ ok: true, data: { token: 't' } })
  })

  it('yields the coded error of a service that says no', async () => {
    const error = { code: 'rate_limited', message: 'Slow.', retryable: true }
    expect(await becomeGuest('Ann', answering(429, JSON.stringify(error)))).toEqual({ ok: false, error })
    expect(await becomeGuest('Ann', answering(429, JSON.stringify({ error })))).toEqual({ ok: false, error })
  })

  it('says so when there is no answer, or none that can be read', async () => {
    const failing = () => Promise.reject(new TypeError('no network'))
    expect(await becomeGuest('Ann', failing)).toMatchObject({ error: { code: 'no_answer' } })
    expect(await becomeGuest('Ann', answering(200, '[]'))).toMatchObject({ error: { code: 'bad_answer' } })
  })
})

describe('a name', () => {
  it('is more than spaces', () => {
    expect(nameProblem('  ')).toContain('A name is needed')
    expect(nameProblem(' Ann ')).toBeNull()
  })
})
