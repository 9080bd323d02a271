import { useState } from 'preact/hooks'
import type { OutboxEntry } from '../../state/outbox'
import type { Sender } from '../../sync/sender'
import { explain } from '../../wire/errors'
import { folded } from '../format'

/** A message that the service has not acknowledged yet, or has refused. */
export function PendingItem({ entry, room, sender }: { entry: OutboxEntry; room: string; sender: Sender }) {
  const [isOpen, setOpen] = useState(false)
  const isFailed = entry.status === 'failed'
  const short = folded(entry.body)
  const isFolded = isFailed && !isOpen && short !== entry.body
  return (
    <li class="pending" data-status={entry.status}>
      <div class="body" data-folded={isFolded}>
        {isFolded ? short : entry.body}
      </div>
      {!isFailed ? (
        <p class="fate">{entry.error === null ? 'Sending…' : `Waiting: ${explain(entry.error)}`}</p>
      ) : (
        <p class="fate" role="alert">
          Not sent. {entry.error === null ? '' : explain(entry.error)}
          <button type="button" class="quiet" onClick={() => sender.retry(room, entry.key)}>
            Try again
          </button>
          <button type="button" class="quiet" onClick={() => sender.discard(room, entry.key)}>
            Discard
          </button>
          {short !== entry.body && (
            <button type="button" class="quiet" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
              {isOpen ? 'Show less' : 'Show all'}
            </button>
          )}
        </p>
      )}
    </li>
  )
}
