import { describe, expect, it } from 'vitest'
import {
  lost,
  makeEntry,
  nextEntry,
  refused,
  retried,
  settled,
  withoutStored,
  withTooLongFailed,
} from '../../src/state/outbox'
import type { ErrorObject } from '../../src/wire/errors'
import { ALICE, BOB, message } from '../support/documents'

const UNAVAILABLE: ErrorObject = { code: 'unavailable', message: '', retryable: true }
const MUTED: ErrorObject = { code: 'muted', message: '', retryable: false }
const outbox = [makeEntry('a', 'one', null, 1), makeEntry('b', 'two', null, 2)]

describe('an outbox', () => {
  it('offers the oldest entry first', () => {
    expect(nextEntry(outbox)?.key).toBe('a')
    expect(nextEntry(settled(outbox, 'a'))?.key).toBe('b')
  })

  it('keeps an entry waiting under its key after a retryable refusal', () => {
    const after = refused(outbox, 'a', UNAVAILABLE)
    expect(nextEntry(after)).toMatchObject({ key: 'a', attempts: 1, status: 'waiting', error: UNAVAILABLE })
  })

  it('passes over an entry that was refused for good, until the user tries it again', () => {
    const after = refused(outbox, 'a', MUTED)
    expect(nextEntry(after)?.key).toBe('b')
    expect(nextEntry(retried(after, 'a'))).toMatchObject({ key: 'a', attempts: 0, error: null })
  })

  it('gives an entry up at the third loss in a row, and counts anew after an answer or another try', () => {
    const twice = lost(lost(outbox, 'a'), 'a')
    expect(nextEntry(twice)?.key).toBe('a')
    const thrice = lost(twice, 'a')
    expect(thrice[0]).toMatchObject({ status: 'failed', error: { code: 'connection_lost' } })
    expect(nextEntry(lost(refused(twice, 'a', UNAVAILABLE), 'a'))?.key).toBe('a')
    expect(nextEntry(lost(retried(thrice, 'a'), 'a'))?.key).toBe('a')
  })

  it('fails what is over the limit, in code points after NFC', () => {
    const bodies = ['e\u0301e\u0301', '👍👍', '👍👍👍'].map((body) => makeEntry(body, body, null, 1))
    expect(withTooLongFailed(bodies, 2).map((entry) => entry.status)).toEqual([
      'waiting',
      'waiting',
      'failed',
    ])
    expect(withTooLongFailed(bodies, 3)).toBe(bodies)
  })

  it('drops what a document proves to be stored, if the sender is the same', () => {
    expect(withoutStored(outbox, ALICE.id, [message(1, { key: 'a', sender: ALICE })])).toEqual([outbox[1]])
    expect(withoutStored(outbox, ALICE.id, [message(1, { key: 'a', sender: BOB })])).toBe(outbox)
  })
})
