import { useEffect } from 'preact/hooks'
import { isRecord, type ErrorObject } from '../../wire/errors'
import type { AdminClient } from '../client'
import type { Figures, NodeDoc } from '../events'
import { figureName, figureText, sentenceOf } from '../words'
import type { Question } from './ask'
import { PagedTable, Problem, Section } from './parts'
import type { SectionProps } from './sections'

/** The service in figures that renew themselves, and its nodes. */
export function Overview({ client, state, isOnline, ask }: SectionProps) {
  useEffect(() => client.watchStats(), [client])
  return (
    <Section title="Overview">
      <Stats stats={state.stats} error={state.statsError} isOnline={isOnline} />
      <h3>Nodes</h3>
      <PagedTable
        pager={client.nodes}
        isOnline={isOnline}
        caption="Nodes"
        empty="No nodes."
        keyOf={({ node, at }: NodeDoc) => `${node} ${at}`}
        columns={[
          {
            label: 'Node',
            cell: ({ node, own }) => (
              <>
                <b>{node}</b> {own && <span class="tag">answering</span>}
              </>
            ),
          },
          {
            label: 'Figures',
            cell: ({ node: _node, own: _own, ...figures }) => <FigureList figures={figures} />,
          },
          {
            label: 'Action',
            cell: (node) => (
              <button type="button" onClick={() => ask(drainQuestion(client, node.node))}>
                Drain<span class="unseen"> {node.node}</span>
              </button>
            ),
          },
        ]}
      />
    </Section>
  )
}

function Stats(props: { stats: Figures | null; error: ErrorObject | null; isOnline: boolean }) {
  const { stats, error, isOnline } = props
  if (error !== null && isOnline) return <Problem text={sentenceOf(error)} />
  if (stats === null)
    return <p class="muted">{isOnline ? 'The figures are on their way…' : 'No figures yet.'}</p>
  return (
    <>
      {!isOnline && <p class="muted">These are the last figures that came.</p>}
      <FigureList figures={stats} />
    </>
  )
}

function FigureList({ figures }: { figures: Figures }) {
  return (
    <dl class="figures">
      {Object.entries(figures).map(([name, value]) => (
        <div key={name}>
          <dt>{figureName(name)}</dt>
          {isRecord(value) ? (
            Object.entries(value).map(([part, figure]) => (
              <dd key={part}>
                {part} {figureText(part, figure)}
              </dd>
            ))
          ) : (
            <dd>{figureText(name, value)}</dd>
          )}
        </div>
      ))}
    </dl>
  )
}

function drainQuestion(client: AdminClient, node: string): Question {
  return {
    title: `Drain ${node}?`,
    text: 'The node lets its clients go, as for a restart, and ends. They come back to the other nodes by themselves.',
    verb: 'Drain it',
    wantsReason: false,
    typed: node,
    act: () => client.act('node:drain', { node }, `The node ${node} is draining.`),
    onDone: () => void client.nodes.reload(),
  }
}
