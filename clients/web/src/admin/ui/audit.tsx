import type { AuditDoc } from '../events'
import { PagedTable, Section, Time } from './parts'
import type { SectionProps } from './sections'

/** Who did what to whom, when and why: newest first. */
export function Audit({ client, isOnline }: SectionProps) {
  return (
    <Section title="Audit log">
      <PagedTable
        pager={client.audit}
        isOnline={isOnline}
        caption="Audit log"
        empty="Nothing was done yet."
        keyOf={(entry: AuditDoc) => JSON.stringify(entry)}
        columns={[
          { label: 'When', cell: ({ at }) => <Time at={at} /> },
          { label: 'Who', cell: ({ actor }) => <code>{actor}</code> },
          { label: 'What', cell: ({ action }) => action, isShort: true },
          { label: 'To', cell: ({ target }) => <Target target={target} /> },
          { label: 'Reason', cell: ({ reason }) => reason },
          {
            label: 'Outcome',
            cell: ({ outcome }) => <span data-outcome={outcome === 'ok' ? 'ok' : 'other'}>{outcome}</span>,
          },
        ]}
      />
    </Section>
  )
}

function Target({ target }: { target: AuditDoc['target'] }) {
  return (
    <>
      {Object.entries(target).map(([kind, id]) => (
        <span key={kind} class="target">
          {kind} <code>{id}</code>
        </span>
      ))}
    </>
  )
}
