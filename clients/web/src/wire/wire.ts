import type { ErrorObject } from './errors'
import type { Calls, Hints, Pushes } from './events'

export type Result<T> =
  { readonly ok: true; readonly data: T } | { readonly ok: false; readonly error: ErrorObject }

/** What a namespace can be asked, by the event's name. */
export type CallTable<C> = {
  readonly [N in keyof C]: { readonly request: unknown; readonly answer: unknown }
}

/**
 * The connection to a namespace as the rest of a page sees it: calls with one answer each, hints, and pushes. The
 * namespace is `/chat` unless the tables of another are given.
 */
export interface Wire<C extends CallTable<C> = Calls, P = Pushes, H = Hints> {
  /** Never rejects: what goes wrong is in the result. */
  call<N extends keyof C & string>(name: N, request: C[N]['request']): Promise<Result<C[N]['answer']>>
  hint<N extends keyof H & string>(name: N, hint: H[N]): void
  on<N extends keyof P & string>(name: N, listener: (push: P[N]) => void): void
}
