import type { ComponentChild, ComponentChildren } from 'preact'
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks'
import { useStore } from '../../ui/hooks'
import type { Paged, Pager } from '../pager'
import { sentenceOf, timeText } from '../words'

const TITLE_ID = 'section-title'

/** Where the focus goes when what had it is gone, and when another section is opened. */
export function focusTitle(): void {
  document.getElementById(TITLE_ID)?.focus()
}

export function Section({ title, children }: { title: string; children: ComponentChildren }) {
  return (
    <section aria-labelledby={TITLE_ID}>
      <h2 id={TITLE_ID} tabIndex={-1}>
        {title}
      </h2>
      {children}
    </section>
  )
}

/** A label over its field, which has the same id. */
export function Field(props: { id: string; label: string; isWide?: boolean; children: ComponentChildren }) {
  return (
    <div class={props.isWide ? 'field wide' : 'field'}>
      <label for={props.id}>{props.label}</label>
      {props.children}
    </div>
  )
}

export function TextField(props: {
  id: string
  label: string
  value: string
  onValue: (value: string) => void
  required?: boolean
}) {
  return (
    <Field id={props.id} label={props.label}>
      <input
        id={props.id}
        value={props.value}
        onInput={(event) => props.onValue(event.currentTarget.value)}
        required={props.required ?? false}
        autocomplete="off"
        autocapitalize="off"
        spellcheck={false}
      />
    </Field>
  )
}

/** An error is read aloud as soon as it is there. */
export function Problem({ text }: { text: string | null }) {
  if (text === null) return null
  return (
    <p class="field-error" role="alert">
      {text}
    </p>
  )
}

export function Time({ at }: { at: number }) {
  return <time dateTime={new Date(at).toISOString()}>{timeText(at)}</time>
}

export interface Column<Row> {
  readonly label: string
  readonly cell: (row: Row) => ComponentChild
  /** Of words that are never long, so that they need not break in the middle. */
  readonly isShort?: boolean
}

/**
 * A table; on a narrow screen each row is a block with a line for each cell. The roles are said because a browser
 * forgets them with the layout of a table.
 */
export function Table<Row>(props: {
  caption: string
  columns: readonly Column<Row>[]
  rows: readonly Row[]
  keyOf: (row: Row) => string
}) {
  return (
    <table role="table">
      <caption class="unseen">{props.caption}</caption>
      <thead role="rowgroup">
        <tr role="row">
          {props.columns.map(({ label }) => (
            <th key={label} role="columnheader" scope="col">
              {label}
            </th>
          ))}
        </tr>
      </thead>
      <tbody role="rowgroup">
        {props.rows.map((row) => (
          <tr key={props.keyOf(row)} role="row">
            {props.columns.map(({ label, cell, isShort }) => (
              <td key={label} role="cell" data-label={label} class={isShort ? 'short' : undefined}>
                <div>{cell(row)}</div>
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  )
}

/** The shown page of a list, and the way to the others. It is read anew when the page comes (back) to the service. */
export function PagedTable<Row, Filter>(props: {
  pager: Pager<Row, Filter>
  isOnline: boolean
  caption: string
  empty: string
  columns: readonly Column<Row>[]
  keyOf: (row: Row) => string
}) {
  const { pager, isOnline } = props
  const paged = useStore(pager.store)
  useEffect(() => {
    if (isOnline) void pager.reload()
  }, [pager, isOnline])
  const { rows } = paged
  return (
    <div class="list" aria-busy={paged.loading}>
      <p class="summary" role="status">
        {summaryOf(paged, props.empty)}
      </p>
      <Problem text={paged.error === null ? null : sentenceOf(paged.error)} />
      {rows !== null && rows.length > 0 && (
        <Table caption={props.caption} columns={props.columns} rows={rows} keyOf={props.keyOf} />
      )}
      <Turner pager={pager} paged={paged} />
    </div>
  )
}

function Turner<Row, Filter>({ pager, paged }: { pager: Pager<Row, Filter>; paged: Paged<Row, Filter> }) {
  const isFirst = paged.trail.length < 2
  return (
    <div class="buttons">
      <button type="button" onClick={() => void pager.reload()}>
        Refresh
      </button>
      {!(isFirst && paged.next === null) && (
        <>
          <button type="button" disabled={isFirst} onClick={() => void pager.previous()}>
            Previous page
          </button>
          <button type="button" disabled={paged.next === null} onClick={() => void pager.next()}>
            Next page
          </button>
        </>
      )}
    </div>
  )
}

function summaryOf(paged: Paged<unknown, unknown>, empty: string): string {
  if (paged.rows === null) return paged.loading ? 'Looking…' : ''
  const missing =
    paged.missing.length === 0
      ? ''
      : ` No answer in time from: ${paged.missing.join(', ')}; theirs are not shown.`
  if (paged.rows.length === 0) return empty + missing
  const page = paged.trail.length < 2 && paged.next === null ? '' : `Page ${paged.trail.length}. `
  return `${page}${paged.rows.length} shown.${missing}`
}

/**
 * A modal question. The browser keeps the focus within it, closes it at Escape, and gives the focus back to what had
 * it, as long as the dialog is closed and not just taken away: so whoever wants to be rid of it calls its `close`.
 */
export function Dialog(props: { title: string; onClose: () => void; children: ComponentChildren }) {
  const dialog = useRef<HTMLDialogElement>(null)
  useLayoutEffect(() => dialog.current?.showModal(), [])
  return (
    <dialog ref={dialog} aria-labelledby="dialog-title" onClose={props.onClose}>
      <h3 id="dialog-title">{props.title}</h3>
      {props.children}
    </dialog>
  )
}
