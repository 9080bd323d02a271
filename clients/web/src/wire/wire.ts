import type { ErrorObject } from './errors'
import type { CallName, Calls, Hints, PushName, Pushes } from './events'

export type Result<T> =
  { readonly ok: true; readonly data: T } | { readonly ok: false; readonly error: ErrorObject }

/** The connection to `/chat` as the rest of the page sees it: calls with one answer each, hints, and pushes. */
export interface Wire {
  /** Never rejects: what goes wrong is in the result. */
  call<N extends CallName>(name: N, request: Calls[N]['request']): Promise<Result<Calls[N]['answer']>>
  hint<N extends keyof Hints>(name: N, hint: Hints[N]): void
  on<N extends PushName>(name: N, listener: (push: Pushes[N]) => void): void
}
