import { describe, expect, it } from 'vitest'
import { readAnswer } from '../src/wire/socket'

describe('an ack', () => {
  it('is a result with its data or its error', () => {
    expect(readAnswer({ ok: true, data: { a: 1 } })).toEqual({ ok: true, data: { a: 1 } })
    const error = { code: 'muted', message: 'No.', retryable: false }
    expect(readAnswer({ ok: false, error })).toEqual({ ok: false, error })
  })

  it.each([null, undefined, 'ok', [], { ok: true }, { ok: false, error: 'x' }])(
    'is an error of its own when it is %j',
    (answer) => {
      expect(readAnswer(answer)).toMatchObject({ ok: false, error: { code: 'bad_answer' } })
    },
  )
})
