import { describe, expect, it } from 'vitest'
import {
  bytesText,
  durationText,
  figureName,
  figureText,
  isForever,
  refusalText,
  secondsOf,
  sentenceOf,
} from '../../src/admin/words'

describe('an error', () => {
  it("is said in the service's words, with what is wrong with each field", () => {
    const error = { code: 'bad_request', message: 'No.', retryable: false } as const
    expect(sentenceOf(error)).toBe('No.')
    const fields = { reason: ['Missing data.'], user: ['Too long.', 'Not text.'] }
    expect(sentenceOf({ ...error, fields })).toBe('No. reason: Missing data. user: Too long. Not text.')
  })

  it("says plainly when a token is not an administrator's", () => {
    expect(refusalText({ code: 'forbidden', message: 'No.', retryable: false })).toContain(
      'not an administrator',
    )
    expect(refusalText({ code: 'token_expired', message: 'Over.', retryable: false })).toBe('Over.')
  })
})

describe('the length of a ban', () => {
  it('is in seconds, or without end', () => {
    expect(secondsOf('2', 'minutes')).toBe(120)
    expect(secondsOf(' 1 ', 'days')).toBe(86_400)
    expect(secondsOf('nonsense', 'forever')).toBeUndefined()
  })

  it.each(['', '0', '-1', '1.5', '1e3', 'x'])('is not %j', (amount) => {
    expect(secondsOf(amount, 'hours')).toBeNull()
  })

  it('has no end when its end is none, or beyond all dates', () => {
    expect(isForever(null)).toBe(true)
    expect(isForever(Number.MAX_SAFE_INTEGER)).toBe(true)
    expect(isForever(1_700_000_000_000)).toBe(false)
  })
})

describe('a figure', () => {
  it('is shown with the unit that its name says', () => {
    expect(figureText('memory_bytes', 1_572_864)).toBe(bytesText(1_572_864))
    expect(bytesText(1_572_864)).toMatch(/^1[.,]5 MB$/)
    expect(bytesText(512)).toBe('512 B')
    expect(figureText('cpu_share', 0.25)).toBe('25 %')
    expect(figureText('uptime_s', 90_061)).toBe('1 d 1 h')
    expect(figureText('messages_per_s', 3)).toBe('3')
  })

  it('is shown when nobody has heard of it, whatever it is', () => {
    expect(figureText('x', null)).toBe('not known')
    expect(figureText('x', true)).toBe('yes')
    expect(figureText('x', [])).toBe('none')
    expect(figureText('x', ['a', 'b'])).toBe('a, b')
    expect(figureText('x', { '/chat': 2, '/admin': 1 })).toBe('/chat 2, /admin 1')
  })

  it('has a name in words', () => {
    expect(figureName('messages_per_s')).toBe('Messages per second')
    expect(figureName('memory_bytes')).toBe('Memory')
    expect(figureName('rooms')).toBe('Active rooms')
    expect(figureName('cpu_share')).toBe('CPU (of one core)')
  })
})

describe('a length of time', () => {
  it.each([
    [0, '0 s'],
    [59.9, '59 s'],
    [60, '1 min'],
    [3_661, '1 h 1 min'],
    [3_605, '1 h'],
  ])('of %d s is %s', (seconds, text) => expect(durationText(seconds)).toBe(text))
})
