import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Typist } from '../../src/sync/typist'
import { makeContext } from '../support/context'

beforeEach(() => vi.useFakeTimers())
afterEach(() => vi.useRealTimers())

describe('a typist', () => {
  it('says so at most once in three seconds, and once that it is over', () => {
    const context = makeContext()
    const typist = new Typist(context)
    for (let stroke = 0; stroke < 40; stroke++) {
      typist.typed('lobby')
      vi.advanceTimersByTime(100)
    }
    expect(context.wire.hints.map(({ hint }) => hint)).toEqual([
      { room: 'lobby', on: true },
      { room: 'lobby', on: true },
    ])
    vi.advanceTimersByTime(10_000)
    expect(context.wire.hints.slice(2).map(({ hint }) => hint)).toEqual([{ room: 'lobby', on: false }])
  })
})
