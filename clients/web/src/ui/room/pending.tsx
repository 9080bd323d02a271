import type { OutboxEntry } from '../../state/outbox'
import type { Sender } from '../../sync/sender'
import { explain } from '../../wire/errors'

/** A message that the service has not acknowledged yet, or has refused. */
export function PendingItem({ entry, room, sender }: { entry: OutboxEntry; room: string; sender: Sender }) {
  return (
    <li class="pending" data-status={entry.status}>
      <div class="body">{entry.body}</div>
      {entry.status === 'waiting' ? (
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
        </p>
      )}
    </li>
  )
}
