import { describe, expect, it } from 'vitest'
import { dropToken, keepToken, readToken, tidyToken, tokenProblem } from '../../src/admin/token'

function makeShelf() {
  const held = new Map<string, string>()
  return {
    held,
    getItem: (name: string) => held.get(name) ?? null,
    setItem: (name: string, value: string) => void held.set(name, value),
    removeItem: (name: string) => void held.delete(name),
  }
}

describe("an administrator's token", () => {
  it('is kept until it is forgotten, apart from the token of the chat page', () => {
    const shelf = makeShelf()
    shelf.setItem('hubbub.token', 'a.guest.s')
    expect(readToken(shelf)).toBeNull()
    keepToken(shelf, 'a.b.c')
    expect(readToken(shelf)).toBe('a.b.c')
    dropToken(shelf)
    expect(readToken(shelf)).toBeNull()
    expect([...shelf.held]).toEqual([['hubbub.token', 'a.guest.s']])
  })

  it.each(['aa.b-b.c_c', ' aa.b-b.c_c\n', 'Bearer aa.b-b.c_c', '"aa.b-b.c_c"', 'aa.b-\nb.c_c'])(
    'is taken as it was meant: %j',
    (pasted) => {
      expect(tidyToken(pasted)).toBe('aa.b-b.c_c')
      expect(tokenProblem(tidyToken(pasted))).toBeNull()
    },
  )

  it.each(['', '   ', 'hello', 'a.b', 'a.b.c.d', 'a..c', 'ä.b.c'])('is not tried when it is %j', (pasted) => {
    expect(tokenProblem(tidyToken(pasted))).toMatch(/token/)
  })
})
