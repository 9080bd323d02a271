import { Store } from '../state/store'
import type { ErrorObject } from '../wire/errors'
import type { Result } from '../wire/wire'

export interface Paged<Row, Filter> {
  readonly filter: Filter
  /** Null until the first page was read. */
  readonly rows: readonly Row[] | null
  /** Where the next page begins; null on the last one. */
  readonly next: string | null
  /** Where the pages up to the shown one begin; null is the beginning. */
  readonly trail: readonly (string | null)[]
  /** Nodes that did not answer in time, so that their rows are not here. */
  readonly missing: readonly string[]
  readonly loading: boolean
  readonly error: ErrorObject | null
}

export interface PageOf<Row> {
  readonly rows: readonly Row[]
  readonly next: string | null
  readonly missing?: readonly string[]
}

/** Asks for the page that begins at a cursor, or for the first one. */
export type AskPage<Row, Filter> = (filter: Filter, cursor: string | null) => Promise<Result<PageOf<Row>>>

/** A list that the service gives in pages, of which one is shown. What was shown stays until the next has come. */
export class Pager<Row, Filter> {
  readonly store: Store<Paged<Row, Filter>>
  private rounds = 0

  constructor(
    filter: Filter,
    private readonly ask: AskPage<Row, Filter>,
  ) {
    const nothing = { rows: null, next: null, missing: [], loading: false, error: null }
    this.store = new Store<Paged<Row, Filter>>({ filter, trail: [null], ...nothing })
  }

  /** The first page with another filter. */
  search(filter: Filter): Promise<void> {
    return this.read(filter, [null])
  }

  /** The same page as it is now. */
  reload(): Promise<void> {
    const { filter, trail } = this.store.get()
    return this.read(filter, trail)
  }

  next(): Promise<void> {
    const { filter, trail, next } = this.store.get()
    return next === null ? Promise.resolve() : this.read(filter, [...trail, next])
  }

  previous(): Promise<void> {
    const { filter, trail } = this.store.get()
    return trail.length < 2 ? Promise.resolve() : this.read(filter, trail.slice(0, -1))
  }

  private async read(filter: Filter, trail: readonly (string | null)[]): Promise<void> {
    // Answers that were overtaken by a later question are not shown.
    const round = ++this.rounds
    this.store.update((state) => ({ ...state, filter, loading: true }))
    const result = await this.ask(filter, trail.at(-1) ?? null)
    if (round !== this.rounds) return
    this.store.update((state) =>
      result.ok
        ? { filter, trail, missing: [], ...result.data, loading: false, error: null }
        : { ...state, loading: false, error: result.error },
    )
  }
}
