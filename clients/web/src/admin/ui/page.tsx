import { useCallback, useEffect, useRef, useState } from 'preact/hooks'
import type { Connection } from '../../state/connection'
import { ConnectionBadge } from '../../ui/connection'
import { useStore, useWindowEvent } from '../../ui/hooks'
import type { AdminClient } from '../client'
import type { AdminState } from '../state'
import { sentenceOf, timeText } from '../words'
import { Ask, type Question } from './ask'
import { focusTitle } from './parts'
import { SECTIONS, sectionIn } from './sections'

/** The page once it has a token: its sections, of which one is shown, and how it stands to the service. */
export function Page({ client, onLeave }: { client: AdminClient; onLeave: () => void }) {
  const state = useStore(client.store)
  const [section, setSection] = useState(() => sectionIn(location.hash))
  const [question, setQuestion] = useState<Question | null>(null)
  const isFirst = useRef(true)
  const isOnline = state.connection.shown.state === 'online'
  const Draw = section.draw

  useWindowEvent(
    'hashchange',
    useCallback(() => setSection(sectionIn(location.hash)), []),
  )
  const networkChanged = useCallback(() => client.link.networkChanged(), [client])
  useWindowEvent('online', networkChanged)
  useWindowEvent('offline', networkChanged)

  useEffect(() => {
    document.title = `${section.label} - Hubbub administration`
    client.hush()
    if (isFirst.current) isFirst.current = false
    else focusTitle()
  }, [section])

  return (
    <div class="admin">
      <header class="bar">
        <h1>
          <img src="/favicon.svg" alt="" width="26" height="26" /> <span>Hubbub administration</span>
        </h1>
        <ConnectionBadge connection={state.connection.shown} onRetry={() => client.link.start()} />
        <Me state={state} onLeave={onLeave} />
      </header>
      <Banner connection={state.connection.shown} tokenEndsAt={state.tokenEndsAt} />
      <nav aria-label="Sections">
        <ul>
          {SECTIONS.map(({ name, label }) => (
            <li key={name}>
              <a href={`#${name}`} aria-current={name === section.name ? 'page' : undefined}>
                {label}
              </a>
            </li>
          ))}
        </ul>
      </nav>
      <main>
        <p class="said" role="status">
          {state.said !== null && <span key={state.said.id}>{state.said.text}</span>}
        </p>
        <Draw client={client} state={state} isOnline={isOnline} ask={setQuestion} />
      </main>
      {question !== null && <Ask question={question} onClose={() => setQuestion(null)} />}
    </div>
  )
}

function Me({ state, onLeave }: { state: AdminState; onLeave: () => void }) {
  return (
    <div class="me">
      {state.me !== null && (
        <b title={`Connected to ${state.node}, version ${state.version}`}>{state.me.name}</b>
      )}
      <button type="button" class="quiet" onClick={onLeave}>
        Forget the token
      </button>
    </div>
  )
}

function Banner({ connection, tokenEndsAt }: { connection: Connection; tokenEndsAt: number | null }) {
  const text = bannerText(connection, tokenEndsAt)
  return text === null ? null : (
    <p class="banner" role="status">
      {text}
    </p>
  )
}

function bannerText(connection: Connection, tokenEndsAt: number | null): string | null {
  switch (connection.state) {
    case 'connecting':
      return null
    case 'online':
      return tokenEndsAt === null ? null : `Your token ends on ${timeText(tokenEndsAt)}.`
    case 'refused':
      return sentenceOf(connection.error)
    default:
      return `${connection.reason ?? 'The service cannot be reached.'} What is shown may be old, and nothing can be done.`
  }
}
