import { describe, expect, it } from 'vitest'
import { apply, fromNewestPage, hasMoreBefore, prepend, trim } from '../../src/state/timeline'
import { message, messages } from '../support/documents'

const seqs = (timeline: { messages: readonly { seq: number }[] }) => timeline.messages.map((held) => held.seq)

describe('applying documents', () => {
  it('orders by seq, in whatever order they come', () => {
    const timeline = apply(fromNewestPage([message(2)]), [message(9), message(4), message(3)])
    expect(seqs(timeline)).toEqual([2, 3, 4, 9])
  })

  it('takes a document with a higher rev and leaves one with the same or a lower', () => {
    const edited = message(2, { rev: 5, body: 'edited' })
    const timeline = apply(fromNewestPage(messages(1, 3)), [edited])
    expect(timeline.messages[1]).toBe(edited)
    expect(apply(timeline, [message(2, { rev: 4, body: 'late' })])).toBe(timeline)
    expect(apply(timeline, [message(2, { rev: 5, body: 'again' })])).toBe(timeline)
  })

  it('leaves out what lies below the run that is held, so that the run has no holes', () => {
    const timeline = fromNewestPage(messages(10, 12))
    expect(apply(timeline, [message(4, { rev: 13 })])).toBe(timeline)
  })
})

describe('reading back', () => {
  it('puts older pages before the run until the room begins', () => {
    const newest = fromNewestPage(messages(7, 9))
    expect(hasMoreBefore(newest)).toBe(true)
    const more = prepend(newest, messages(4, 6), true)
    expect(seqs(more)).toEqual([4, 5, 6, 7, 8, 9])
    expect(hasMoreBefore(more)).toBe(true)
    expect(hasMoreBefore(prepend(more, messages(1, 3), false))).toBe(false)
  })

  it('knows that a room whose first message is here has nothing before it', () => {
    expect(hasMoreBefore(fromNewestPage(messages(1, 3)))).toBe(false)
    expect(hasMoreBefore(fromNewestPage([]))).toBe(false)
  })

  it('lets go of the oldest, and can read them again', () => {
    const trimmed = trim(fromNewestPage(messages(1, 9)), 4)
    expect(seqs(trimmed)).toEqual([6, 7, 8, 9])
    expect(hasMoreBefore(trimmed)).toBe(true)
    expect(seqs(prepend(trimmed, messages(1, 5), false))).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9])
  })
})
