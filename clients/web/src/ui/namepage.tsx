import { useRef, useState } from 'preact/hooks'
import { becomeGuest, nameProblem } from '../session/guest'
import { explain } from '../wire/errors'
import { useFocusWhenShown } from './hooks'

const NAME_KEPT_AS = 'hubbub.name'

/** Where a visitor says what to be called. `reason` is why they are (back) here, if there is one. */
export function NamePage({ reason, onToken }: { reason: string | null; onToken: (token: string) => void }) {
  const [name, setName] = useState(sessionStorage.getItem(NAME_KEPT_AS) ?? '')
  const [error, setError] = useState<string | null>(null)
  const [busy, setBusy] = useState(false)
  const field = useRef<HTMLInputElement>(null)
  useFocusWhenShown(field)

  async function submit(event: Event): Promise<void> {
    event.preventDefault()
    const wanted = name.trim()
    const problem = nameProblem(name)
    setError(problem)
    if (problem !== null) return field.current?.focus()
    setBusy(true)
    const result = await becomeGuest(wanted)
    setBusy(false)
    if (result.ok) {
      sessionStorage.setItem(NAME_KEPT_AS, wanted)
      return onToken(result.data.token)
    }
    setError(refusalText(result.error))
    field.current?.focus()
  }

  return (
    <main class="name-page">
      <form class="card" onSubmit={(event) => void submit(event)}>
        <img src="/favicon.svg" alt="" width="56" height="56" />
        <h1>Hubbub</h1>
        <p class="muted">Talk in rooms, in real time. Choose a name and come in.</p>
        {reason !== null && (
          <p class="callout" role="status">
            {reason}
          </p>
        )}
        <label for="name">Your name</label>
        <input
          id="name"
          ref={field}
          value={name}
          onInput={(event) => setName(event.currentTarget.value)}
          maxLength={64}
          autocomplete="nickname"
          required
          aria-invalid={error !== null}
          aria-describedby={error === null ? undefined : 'name-error'}
        />
        {error !== null && (
          <p id="name-error" class="field-error" role="alert">
            {error}
          </p>
        )}
        <button class="primary" disabled={busy}>
          {busy ? 'One moment…' : 'Come in'}
        </button>
      </form>
    </main>
  )
}

function refusalText(error: Parameters<typeof explain>[0]): string {
  if (error.code === 'not_found' || error.code === 'forbidden')
    return 'Guests are not let in here; a token is needed.'
  if (error.code === 'bad_request') return error.fields?.['name']?.[0] ?? error.message
  return explain(error)
}
