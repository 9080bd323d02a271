import type { MessageDoc } from '../../src/wire/documents'
import type { ErrorObject } from '../../src/wire/errors'
import type { CallName, Calls, Hints, PushName, Pushes } from '../../src/wire/events'
import type { Result, Wire } from '../../src/wire/wire'
import { ALICE, message, roomDoc } from './documents'

type Handlers = { [N in CallName]?: (request: Calls[N]['request']) => Calls[N]['answer'] }

/** One room of a service that keeps the contract, in memory, with faults on demand. The caller is Alice. */
export class FakeService implements Wire {
  epoch = 'e1'
  head = 0
  /** At most this many documents in a page. */
  page = 500
  readonly calls: { name: CallName; request: unknown }[] = []
  readonly hints: { name: keyof Hints; hint: unknown }[] = []
  /** What the next calls of a name come to instead; `lost` is done, but its answer never arrives. */
  private readonly faults: { name: CallName; fault: ErrorObject | 'lost' }[] = []
  private readonly held = new Map<string, MessageDoc>()
  private readonly listeners = new Map<PushName, ((push: never) => void)[]>()

  private readonly handlers: Handlers = {
    'room:join': (request) => {
      const { messages, outcome, next } = this.changes(request.since ?? null, request.epoch, request.limit)
      const room = roomDoc({ epoch: this.epoch, head: this.head })
      return { room, messages, outcome, head: this.head, next, members: [] }
    },
    'history:sync': (request) => ({
      ...this.changes(request.since, request.epoch, request.limit),
      head: this.head,
    }),
    'history:fetch': (request) => {
      const all = this.bySeq().filter((held) => held.seq < (request.before ?? Infinity))
      const messages = all.slice(-(request.limit ?? 50))
      return { messages, more_before: messages.length < all.length, more_after: false }
    },
    'message:send': (request) => {
      const there = this.bySeq().find((held) => held.sender.id === ALICE.id && held.key === request.key)
      if (there !== undefined) return { message: there, duplicate: true }
      return { message: this.post(request.body, { key: request.key, sender: ALICE }), duplicate: false }
    },
    'read:mark': (request) => ({ read_seq: request.seq, unread: 0 }),
  }

  call<N extends CallName>(name: N, request: Calls[N]['request']): Promise<Result<Calls[N]['answer']>> {
    this.calls.push({ name, request })
    const index = this.faults.findIndex((planned) => planned.name === name)
    const fault = index < 0 ? null : (this.faults.splice(index, 1)[0]?.fault ?? null)
    if (fault !== null && fault !== 'lost') return Promise.resolve({ ok: false, error: fault })
    const handler = this.handlers[name]
    if (handler === undefined) throw new Error(`The fake service does not know ${name}.`)
    const data = handler(request)
    const lost: ErrorObject = { code: 'no_answer', message: '', retryable: true }
    return Promise.resolve(fault === 'lost' ? { ok: false, error: lost } : { ok: true, data })
  }

  hint<N extends keyof Hints>(name: N, hint: Hints[N]): void {
    this.hints.push({ name, hint })
  }

  on<N extends PushName>(name: N, listener: (push: Pushes[N]) => void): void {
    this.listeners.set(name, [...(this.listeners.get(name) ?? []), listener])
  }

  push<N extends PushName>(name: N, push: Pushes[N]): void {
    for (const listener of this.listeners.get(name) ?? []) (listener as (push: Pushes[N]) => void)(push)
  }

  failNext(name: CallName, fault: ErrorObject | 'lost'): void {
    this.faults.push({ name, fault })
  }

  post(body: string, more: Partial<MessageDoc> = {}): MessageDoc {
    this.head += 1
    const document = message(this.head, { body, ...more })
    this.held.set(document.id, document)
    return document
  }

  edit(seq: number, body: string): MessageDoc {
    const document = this.bySeq().find((held) => held.seq === seq)
    if (document === undefined) throw new Error(`No message ${seq}.`)
    this.head += 1
    const next = { ...document, body, rev: this.head, edited_at: 1 }
    this.held.set(next.id, next)
    return next
  }

  bySeq(): MessageDoc[] {
    return [...this.held.values()].sort((a, b) => a.seq - b.seq)
  }

  countOf(name: CallName): number {
    return this.calls.filter((call) => call.name === name).length
  }

  private changes(since: number | null, epoch: string | undefined, limit = 50) {
    const isReset = since !== null && ((epoch !== undefined && epoch !== this.epoch) || since > this.head)
    if (since === null || isReset) {
      const outcome = isReset ? ('reset' as const) : ('full' as const)
      return { messages: this.bySeq().slice(-limit), outcome, next: this.head }
    }
    const all = [...this.held.values()].filter((held) => held.rev > since).sort((a, b) => a.rev - b.rev)
    const messages = all.slice(0, Math.min(limit, this.page))
    const isFull = messages.length === all.length
    const next = isFull ? this.head : (messages.at(-1)?.rev ?? since)
    return { messages, outcome: isFull ? ('full' as const) : ('partial' as const), next }
  }
}
