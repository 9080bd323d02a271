import type { MessageDoc } from '../wire/documents'
import { LOST_EACH_TIME, TOO_LONG, type ErrorObject } from '../wire/errors'
import { isLonger } from './length'

/**
 * What the user has sent to a room and the service has not yet acknowledged, oldest first. An entry keeps its key for
 * ever: however often it is sent, it is stored once. Only the first entry that has not failed is under way, so that
 * messages are stored in the order in which they were written.
 */
export interface OutboxEntry {
  readonly key: string
  readonly body: string
  readonly replyTo: string | null
  readonly createdAt: number
  /** `failed` means that it is not sent again by itself; `error` may be set on a waiting one as well. */
  readonly status: 'waiting' | 'failed'
  readonly attempts: number
  /** How many connections in a row were lost while it was on its way. */
  readonly losses: number
  readonly error: ErrorObject | null
}

/** It may be the entry that ends the connections, so after this many losses the others go before it. */
const MOST_LOSSES = 3

export type Outbox = readonly OutboxEntry[]

export function makeEntry(key: string, body: string, replyTo: string | null, createdAt: number): OutboxEntry {
  return { key, body, replyTo, createdAt, status: 'waiting', attempts: 0, losses: 0, error: null }
}

/** The entry to be sent now. */
export function nextEntry(outbox: Outbox): OutboxEntry | undefined {
  return outbox.find((entry) => entry.status === 'waiting')
}

export function settled(outbox: Outbox, key: string): Outbox {
  return outbox.some((entry) => entry.key === key) ? outbox.filter((entry) => entry.key !== key) : outbox
}

/** After a refusal: a retryable one keeps the entry waiting, any other makes it fail. */
export function refused(outbox: Outbox, key: string, error: ErrorObject): Outbox {
  return change(outbox, key, (entry) => ({
    ...entry,
    error,
    attempts: entry.attempts + 1,
    losses: 0,
    status: error.retryable ? 'waiting' : 'failed',
  }))
}

/** Try a failed entry again, with the key that it has. */
export function retried(outbox: Outbox, key: string): Outbox {
  return change(outbox, key, (entry) => ({
    ...entry,
    status: 'waiting',
    attempts: 0,
    losses: 0,
    error: null,
  }))
}

/** After the connection was lost with the entry on its way: it waits for the next one, but not for ever. */
export function lost(outbox: Outbox, key: string): Outbox {
  return change(outbox, key, (entry) => {
    const losses = entry.losses + 1
    return losses < MOST_LOSSES
      ? { ...entry, losses }
      : { ...entry, losses, status: 'failed', error: LOST_EACH_TIME }
  })
}

/** Fail what is longer than the service takes: its frame would end the connection, and with it every other message. */
export function withTooLongFailed(outbox: Outbox, most: number): Outbox {
  const isTooLong = (entry: OutboxEntry) => entry.status === 'waiting' && isLonger(entry.body, most)
  if (!outbox.some(isTooLong)) return outbox
  return outbox.map((entry) => (isTooLong(entry) ? { ...entry, status: 'failed', error: TOO_LONG } : entry))
}

/** Take out what the documents prove to be stored: an ack may come after its event, or be lost. */
export function withoutStored(outbox: Outbox, me: string, documents: readonly MessageDoc[]): Outbox {
  if (outbox.length === 0) return outbox
  const keys = new Set(
    documents.filter((document) => document.sender.id === me).map((document) => document.key),
  )
  const left = outbox.filter((entry) => !keys.has(entry.key))
  return left.length === outbox.length ? outbox : left
}

function change(outbox: Outbox, key: string, edit: (entry: OutboxEntry) => OutboxEntry): Outbox {
  return outbox.map((entry) => (entry.key === key ? edit(entry) : entry))
}
