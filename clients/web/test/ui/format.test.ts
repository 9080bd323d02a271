import { describe, expect, it } from 'vitest'
import { badgeText, dayName, folded, hueClass, initials, linkPieces } from '../../src/ui/format'

describe('links', () => {
  it('are found in text, without the punctuation that follows them', () => {
    expect(linkPieces('See https://example.org/a?b=1, or not.')).toEqual([
      { text: 'See ', isLink: false },
      { text: 'https://example.org/a?b=1', isLink: true },
      { text: ', or not.', isLink: false },
    ])
  })

  it('are never made of other schemes', () => {
    expect(linkPieces('javascript:alert(1) data:text/html,x')).toHaveLength(1)
  })
})

describe('short forms', () => {
  it('are what people expect', () => {
    expect(initials('Ada Lovelace')).toBe('AL')
    expect(initials('bob')).toBe('B')
    expect(initials('')).toBe('')
    expect(badgeText(99)).toBe('99')
    expect(badgeText(1000)).toBe('99+')
    expect(hueClass('alice')).toBe(hueClass('alice'))
    const now = new Date(2024, 4, 17, 12).getTime()
    expect(dayName(now, now)).toBe('Today')
    expect(dayName(now - 86_400_000, now)).toBe('Yesterday')
  })
})

describe('a folded text', () => {
  it('is its first lines, and says that there is more', () => {
    expect(folded('1\n2\n3\n4\n5')).toBe('1\n2\n3\n4\n5')
    expect(folded('1\n2\n3\n4\n5\n6')).toBe('1\n2\n3\n4\n5…')
  })

  it('is short where one line is long, and ends with a whole character', () => {
    expect(folded('x'.repeat(200_000))).toBe(`${'x'.repeat(300)}…`)
    expect(folded(`x${'👍'.repeat(200)}`)).toBe(`x${'👍'.repeat(149)}…`)
  })
})
