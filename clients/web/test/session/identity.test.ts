import { describe, expect, it } from 'vitest'
import { dropToken, hashOfRoom, keepToken, readToken, roomInHash, type Tab } from '../../src/session/identity'

function makeTab(hash: string): Tab & { replaced: string[] } {
  const values = new Map<string, string>()
  const replaced: string[] = []
  return {
    hash,
    replaced,
    replaceHash: (next) => replaced.push(next),
    storage: {
      getItem: (name) => values.get(name) ?? null,
      setItem: (name, value) => values.set(name, value),
      removeItem: (name) => values.delete(name),
    },
  }
}

describe('the token of a tab', () => {
  it('is kept until it is dropped', () => {
    const tab = makeTab('')
    expect(readToken(tab)).toBeNull()
    keepToken(tab, 't1')
    expect(readToken(tab)).toBe('t1')
    dropToken(tab)
    expect(readToken(tab)).toBeNull()
  })

  it('is taken from the address, and out of it', () => {
    const tab = makeTab('#token=t2&room=lobby')
    expect(readToken(tab)).toBe('t2')
    expect(tab.replaced).toEqual(['room=lobby'])
    expect(readToken({ ...tab, hash: '' })).toBe('t2')
  })
})

describe('the address', () => {
  it('names the room, whatever its id holds', () => {
    expect(roomInHash(`#${hashOfRoom('p:a&b=c')}`)).toBe('p:a&b=c')
    expect(roomInHash('')).toBeNull()
  })
})
