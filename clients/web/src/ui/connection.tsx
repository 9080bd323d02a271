import { describeConnection, type Connection } from '../state/connection'
import { explain } from '../wire/errors'

/** How the page stands to the service, in a word that is always there; with a way out where one is needed. */
export function ConnectionBadge({ connection, onRetry }: { connection: Connection; onRetry: () => void }) {
  const needsUser = connection.state === 'offline' || connection.state === 'refused'
  return (
    <div class="connection" data-state={connection.state}>
      <span class="dot" aria-hidden="true" />
      <span role="status" title={reasonOf(connection)}>
        {describeConnection(connection)}
      </span>
      {needsUser && (
        <button type="button" class="quiet" onClick={onRetry}>
          Try again
        </button>
      )}
    </div>
  )
}

/** A line across the page while the service cannot be reached, so that nobody wonders where their words are. */
export function ConnectionBanner({ connection }: { connection: Connection }) {
  const reason = reasonOf(connection)
  if (connection.state === 'online' || connection.state === 'connecting') return null
  return (
    <p class="banner">
      {reason === '' ? '' : `${reason} `}
      {connection.state === 'refused' ? '' : 'What you write is kept and sent once the connection is back.'}
    </p>
  )
}

function reasonOf(connection: Connection): string {
  if (connection.state === 'refused') return explain(connection.error)
  if (connection.state === 'reconnecting' || connection.state === 'offline') return connection.reason ?? ''
  return ''
}
