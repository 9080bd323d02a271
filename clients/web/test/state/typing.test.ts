import { describe, expect, it } from 'vitest'
import { describeTypists, expired, started, stopped, TYPING_BELIEVED_MS } from '../../src/state/typing'

describe('typing', () => {
  it('is believed for a while, unless it is taken back', () => {
    const typists = started({}, 'bob', 'Bob', 1000)
    expect(expired(typists, 1000 + TYPING_BELIEVED_MS - 1)).toBe(typists)
    expect(expired(typists, 1000 + TYPING_BELIEVED_MS)).toEqual({})
    expect(stopped(typists, 'bob')).toEqual({})
  })

  it('names one or two, and more than that not at all', () => {
    const one = started({}, 'bob', 'Bob', 0)
    const two = started(one, 'eve', 'Eve', 0)
    expect(describeTypists({})).toBe('')
    expect(describeTypists(one)).toBe('Bob is typing…')
    expect(describeTypists(two)).toBe('Bob and Eve are typing…')
    expect(describeTypists(started(two, 'kim', 'Kim', 0))).toBe('Several people are typing…')
  })
})
