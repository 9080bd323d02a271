import { useState } from 'preact/hooks'
import { sentenceOf } from '../words'
import { Field, Problem, Section, TextField } from './parts'
import type { SectionProps } from './sections'

type Kind = 'user' | 'jti'

/** The end of tokens before their time. */
export function Tokens({ client }: SectionProps) {
  const [kind, setKind] = useState<Kind>('user')
  const [value, setValue] = useState('')
  const [reason, setReason] = useState('')
  const [problem, setProblem] = useState<string | null>(null)

  async function submit(event: Event): Promise<void> {
    event.preventDefault()
    setProblem(null)
    const id = value.trim()
    const which = kind === 'user' ? { user: id } : { jti: id }
    const done = kind === 'user' ? `The tokens of ${id} are revoked.` : `The token ${id} is revoked.`
    const error = await client.act('token:revoke', { ...which, reason: reason.trim() }, done)
    if (error !== null) return setProblem(sentenceOf(error))
    setValue('')
    setReason('')
  }

  return (
    <Section title="Revoke tokens">
      <p class="muted">
        A token that is revoked ends on live connections too. Of a user all are revoked that were issued until
        now. Tokens that a user is given later are good again; a ban keeps the user out.
      </p>
      <form class="fields" aria-label="Revoke tokens" onSubmit={(event) => void submit(event)}>
        <Field id="revoke-kind" label="Which">
          <select
            id="revoke-kind"
            value={kind}
            onChange={(event) => setKind(event.currentTarget.value as Kind)}
          >
            <option value="user">all of a user</option>
            <option value="jti">one, by its jti</option>
          </select>
        </Field>
        <TextField
          id="revoke-value"
          label={kind === 'user' ? 'User id' : 'Token id (jti)'}
          value={value}
          onValue={setValue}
          required
        />
        <TextField id="revoke-reason" label="Reason" value={reason} onValue={setReason} required />
        <button class="danger">Revoke</button>
        <Problem text={problem} />
      </form>
    </Section>
  )
}
