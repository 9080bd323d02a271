import { describe, expect, it } from 'vitest'
import { isCaughtUp, leavesHole, openAt, resumePoint, withEvent, withPage } from '../../src/state/position'

describe('the point to resume from', () => {
  it('is the head after a full join, and rises with each event', () => {
    const position = openAt('e1', 7, 7)
    expect(resumePoint(position)).toBe(7)
    expect(resumePoint(withEvent(withEvent(position, 8), 9))).toBe(9)
  })

  it('stays at the last page while pages are to come, whatever events arrive', () => {
    const position = withEvent(openAt('e1', 3, 7), 8)
    expect(isCaughtUp(position)).toBe(false)
    expect(resumePoint(position)).toBe(3)
    const paged = withPage(position, 7)
    expect(isCaughtUp(paged)).toBe(true)
    expect(resumePoint(paged)).toBe(8)
  })

  it('does not move over a hole', () => {
    const position = openAt('e1', 7, 7)
    expect(leavesHole(position, 8)).toBe(false)
    expect(leavesHole(position, 9)).toBe(true)
    expect(resumePoint(withEvent(position, 9))).toBe(7)
  })

  it('is not moved back by an event that is repeated', () => {
    const position = withEvent(openAt('e1', 7, 7), 8)
    expect(withEvent(position, 8)).toBe(position)
    expect(withEvent(position, 2)).toBe(position)
  })
})
