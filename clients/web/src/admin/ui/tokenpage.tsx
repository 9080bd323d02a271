import { useRef, useState } from 'preact/hooks'
import { useFocusWhenShown } from '../../ui/hooks'
import { tidyToken, tokenProblem } from '../token'
import { Problem } from './parts'

/** Where an administrator gives a token. `reason` is why they are (back) here, if there is one. */
export function TokenPage({ reason, onToken }: { reason: string | null; onToken: (token: string) => void }) {
  const [pasted, setPasted] = useState('')
  const [problem, setProblem] = useState<string | null>(null)
  const field = useRef<HTMLInputElement>(null)
  useFocusWhenShown(field)

  function submit(event: Event): void {
    event.preventDefault()
    const token = tidyToken(pasted)
    const wrong = tokenProblem(token)
    setProblem(wrong)
    if (wrong === null) return onToken(token)
    field.current?.focus()
  }

  return (
    <main class="name-page">
      <form class="card" noValidate onSubmit={submit}>
        <img src="/favicon.svg" alt="" width="56" height="56" />
        <h1>Hubbub administration</h1>
        <p class="muted">
          A token with the role <code>admin</code> opens this page.{' '}
          <code>hubbub token --user NAME --role admin</code> prints one.
        </p>
        {reason !== null && (
          <p class="callout" role="alert">
            {reason}
          </p>
        )}
        <label for="token">Token</label>
        <input
          id="token"
          ref={field}
          type="password"
          value={pasted}
          onInput={(event) => setPasted(event.currentTarget.value)}
          autocomplete="off"
          spellcheck={false}
          required
          aria-invalid={problem !== null}
        />
        <Problem text={problem} />
        <p class="muted">It is kept in this tab alone, until the tab is closed.</p>
        <button class="primary">Come in</button>
      </form>
    </main>
  )
}
