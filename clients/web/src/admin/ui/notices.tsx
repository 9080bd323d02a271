import { useState } from 'preact/hooks'
import type { Level } from '../events'
import { sentenceOf } from '../words'
import { Field, Problem, Section, TextField } from './parts'
import type { SectionProps } from './sections'

const LEVELS: readonly Level[] = ['info', 'warning', 'critical']

/** A word to everybody who is connected, or to those in a room. */
export function SendNotice({ client }: SectionProps) {
  const [room, setRoom] = useState('')
  const [level, setLevel] = useState<Level>('info')
  const [text, setText] = useState('')
  const [problem, setProblem] = useState<string | null>(null)

  async function submit(event: Event): Promise<void> {
    event.preventDefault()
    setProblem(null)
    const where = room.trim()
    const request = { level, text: text.trim(), ...(where === '' ? {} : { room: where }) }
    const done =
      where === '' ? 'The notice was sent to everybody.' : `The notice was sent to the room ${where}.`
    const error = await client.act('notice:send', request, done)
    if (error !== null) return setProblem(sentenceOf(error))
    setText('')
  }

  return (
    <Section title="Send a notice">
      <p class="muted">It is shown to those who are connected now, and is not kept.</p>
      <form class="fields" aria-label="Send a notice" onSubmit={(event) => void submit(event)}>
        <TextField id="notice-room" label="Room id (empty: everybody)" value={room} onValue={setRoom} />
        <Field id="notice-level" label="Level">
          <select
            id="notice-level"
            value={level}
            onChange={(event) => setLevel(event.currentTarget.value as Level)}
          >
            {LEVELS.map((name) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
        </Field>
        <Field id="notice-text" label="Text" isWide>
          <textarea
            id="notice-text"
            rows={3}
            value={text}
            onInput={(event) => setText(event.currentTarget.value)}
            required
          />
        </Field>
        <button class="primary">Send</button>
        <Problem text={problem} />
      </form>
    </Section>
  )
}
