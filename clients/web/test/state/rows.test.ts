import { describe, expect, it } from 'vitest'
import { rowsOf } from '../../src/state/rows'
import { ALICE, message } from '../support/documents'

const types = (rows: ReturnType<typeof rowsOf>) =>
  rows.map((row) => (row.type === 'message' ? (row.isFirst ? 'first' : 'next') : row.type))

describe('rows', () => {
  it('put messages of one sender that follow each other under one name', () => {
    const rows = rowsOf([message(1), message(2), message(3, { sender: ALICE })], null, 'eve')
    expect(types(rows)).toEqual(['day', 'first', 'next', 'first'])
  })

  it('begin anew on another day', () => {
    const later = message(2, { created_at: 1_700_200_000_000 })
    expect(types(rowsOf([message(1), later], null, 'eve'))).toEqual(['day', 'first', 'day', 'first'])
  })

  it('draw the line once, before the first message of others that is new', () => {
    const list = [message(1), message(2, { sender: ALICE }), message(3), message(4)]
    expect(types(rowsOf(list, 1, ALICE.id))).toEqual(['day', 'first', 'first', 'new', 'first', 'next'])
    expect(types(rowsOf(list, null, ALICE.id))).not.toContain('new')
  })
})
