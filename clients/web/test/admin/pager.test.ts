import { describe, expect, it } from 'vitest'
import { Pager, type PageOf } from '../../src/admin/pager'
import type { ErrorObject } from '../../src/wire/errors'
import type { Result } from '../../src/wire/wire'

const REFUSED: ErrorObject = { code: 'unavailable', message: 'The store is away.', retryable: true }

/** A list of the numbers up to 7, three to a page, behind a pager; answers come when they are let go. */
function setUp() {
  const asked: [string, string | null][] = []
  const waiting: (() => void)[] = []
  const service = { isHeld: false, isAway: false }
  const answer = (filter: string, cursor: string | null): Result<PageOf<string>> => {
    if (service.isAway) return { ok: false, error: REFUSED }
    const first = Number(cursor ?? 0)
    const rows = [0, 1, 2, 3, 4, 5, 6].slice(first, first + 3).map((number) => `${filter}${number}`)
    return { ok: true, data: { rows, next: first + 3 < 7 ? String(first + 3) : null } }
  }
  const pager = new Pager<string, string>('a', (filter, cursor) => {
    asked.push([filter, cursor])
    if (!service.isHeld) return Promise.resolve(answer(filter, cursor))
    return new Promise((resolve) => waiting.push(() => resolve(answer(filter, cursor))))
  })
  return { pager, asked, waiting, service, shown: () => pager.store.get().rows }
}

describe('a list in pages', () => {
  it('is turned forth and back, and no further than it goes', async () => {
    const { pager, shown, asked } = setUp()
    await pager.reload()
    expect(shown()).toEqual(['a0', 'a1', 'a2'])
    await pager.next()
    await pager.next()
    expect(shown()).toEqual(['a6'])
    await pager.next()
    expect(shown()).toEqual(['a6'])
    await pager.previous()
    expect(shown()).toEqual(['a3', 'a4', 'a5'])
    await pager.previous()
    await pager.previous()
    expect(shown()).toEqual(['a0', 'a1', 'a2'])
    expect(asked.map(([, cursor]) => cursor)).toEqual([null, '3', '6', '3', null])
  })

  it('is read anew where it stands, and from the start with another filter', async () => {
    const { pager, shown } = setUp()
    await pager.reload()
    await pager.next()
    await pager.reload()
    expect(shown()).toEqual(['a3', 'a4', 'a5'])
    await pager.search('b')
    expect(shown()).toEqual(['b0', 'b1', 'b2'])
    expect(pager.store.get().trail).toEqual([null])
  })

  it('shows the answer to the last question, whichever comes last', async () => {
    const { pager, waiting, service, shown } = setUp()
    service.isHeld = true
    const first = pager.search('b')
    const second = pager.search('c')
    waiting[1]?.()
    await second
    waiting[0]?.()
    await first
    expect(shown()).toEqual(['c0', 'c1', 'c2'])
    expect(pager.store.get()).toMatchObject({ filter: 'c', loading: false })
  })

  it('keeps what it shows when the next page does not come, and can go on', async () => {
    const { pager, service, shown } = setUp()
    await pager.reload()
    service.isAway = true
    await pager.next()
    expect(shown()).toEqual(['a0', 'a1', 'a2'])
    expect(pager.store.get()).toMatchObject({ error: REFUSED, loading: false, trail: [null] })
    service.isAway = false
    await pager.next()
    expect(shown()).toEqual(['a3', 'a4', 'a5'])
    expect(pager.store.get().error).toBeNull()
  })
})
