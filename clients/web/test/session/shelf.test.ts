import { describe, expect, it } from 'vitest'
import { OutboxShelf } from '../../src/session/shelf'
import { makeEntry } from '../../src/state/outbox'
import { makeRoom } from '../../src/state/room'
import { roomDoc } from '../support/documents'

function makeStorage() {
  const values = new Map<string, string>()
  return {
    getItem: (name: string) => values.get(name) ?? null,
    setItem: (name: string, value: string) => void values.set(name, value),
  }
}

const roomWith = (id: string, ...keys: string[]) =>
  makeRoom(
    roomDoc({ id }),
    keys.map((key) => makeEntry(key, 'text', null, 1)),
  )

describe('outboxes on the shelf', () => {
  it('survive a reload, room by room, in whatever order rooms come', () => {
    const storage = makeStorage()
    new OutboxShelf(storage).keep('alice', { a: roomWith('a', 'k1'), b: roomWith('b', 'k2') })
    const shelf = new OutboxShelf(storage)
    expect(shelf.take('alice', 'a')).toMatchObject([{ key: 'k1' }])
    shelf.keep('alice', { a: roomWith('a') })
    expect(new OutboxShelf(storage).take('alice', 'b')).toMatchObject([{ key: 'k2' }])
    expect(new OutboxShelf(storage).take('alice', 'a')).toEqual([])
  })

  it('kept by an older page have their counts filled in', () => {
    const storage = makeStorage()
    storage.setItem('hubbub.outbox', '{"user":"alice","outboxes":{"a":[{"key":"k","body":"text"}]}}')
    expect(new OutboxShelf(storage).take('alice', 'a')).toEqual([makeEntry('k', 'text', null, 0)])
  })

  it('that are larger than the shelf do not stop the page', () => {
    const full = () => {
      throw new DOMException('Full.', 'QuotaExceededError')
    }
    const shelf = new OutboxShelf({ ...makeStorage(), setItem: full })
    expect(() => shelf.keep('alice', { a: roomWith('a', 'k1') })).not.toThrow()
  })

  it('are not given to another user, nor made of what is no outbox', () => {
    const storage = makeStorage()
    new OutboxShelf(storage).keep('alice', { a: roomWith('a', 'k1') })
    expect(new OutboxShelf(storage).take('bob', 'a')).toEqual([])
    storage.setItem('hubbub.outbox', '{"user":"alice","outboxes":{"a":[1,{"key":2}]}}')
    expect(new OutboxShelf(storage).take('alice', 'a')).toEqual([])
    storage.setItem('hubbub.outbox', 'not json')
    expect(new OutboxShelf(storage).take('alice', 'a')).toEqual([])
  })
})
