import { useRef, useState } from 'preact/hooks'
import { nameProblem } from '../session/guest'
import type { Client } from '../sync/client'
import { explain } from '../wire/errors'
import { useFocusWhenShown } from './hooks'
import { Icon } from './icons'

/** A form for a new public room, folded away until it is asked for. */
export function NewRoom({ client }: { client: Client }) {
  const [isOpen, setOpen] = useState(false)
  return isOpen ? (
    <NewRoomForm client={client} onDone={() => setOpen(false)} />
  ) : (
    <button type="button" class="new-room-button" onClick={() => setOpen(true)}>
      <Icon name="plus" /> New room
    </button>
  )
}

function NewRoomForm({ client, onDone }: { client: Client; onDone: () => void }) {
  const [title, setTitle] = useState('')
  const [topic, setTopic] = useState('')
  const [error, setError] = useState<string | null>(null)
  const field = useRef<HTMLInputElement>(null)
  useFocusWhenShown(field)

  async function submit(event: Event): Promise<void> {
    event.preventDefault()
    const problem = nameProblem(title)
    setError(problem)
    if (problem !== null) return field.current?.focus()
    const result = await client.directory.create(title.trim(), topic.trim())
    if (result.ok) {
      client.open(result.data.room.id)
      return onDone()
    }
    setError(
      result.error.code === 'conflict' ? 'There is a room of that name already.' : explain(result.error),
    )
    field.current?.focus()
  }

  return (
    <form
      class="new-room"
      onSubmit={(event) => void submit(event)}
      onKeyDown={(event) => event.key === 'Escape' && onDone()}
    >
      <label for="new-title">Name of the room</label>
      <input
        id="new-title"
        ref={field}
        value={title}
        onInput={(event) => setTitle(event.currentTarget.value)}
        maxLength={100}
        required
      />
      <label for="new-topic">Topic (may be empty)</label>
      <input
        id="new-topic"
        value={topic}
        onInput={(event) => setTopic(event.currentTarget.value)}
        maxLength={500}
      />
      {error !== null && (
        <p class="field-error" role="alert">
          {error}
        </p>
      )}
      <div class="buttons">
        <button class="primary">Make the room</button>
        <button type="button" class="quiet" onClick={onDone}>
          Cancel
        </button>
      </div>
    </form>
  )
}
