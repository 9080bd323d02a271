import { useLayoutEffect, useRef, useState } from 'preact/hooks'
import type { Room } from '../../state/room'
import type { Client } from '../../sync/client'
import type { MessageDoc } from '../../wire/documents'
import { Icon, IconButton } from '../icons'

/** What the text in the field is to become. */
export type Intent =
  | { readonly kind: 'write' }
  | { readonly kind: 'reply'; readonly message: MessageDoc }
  | { readonly kind: 'edit'; readonly message: MessageDoc }

/** What was begun and not sent, by room, while the page is open. */
const drafts = new Map<string, string>()

interface Props {
  readonly room: Room
  readonly client: Client
  readonly intent: Intent
  readonly onIntent: (intent: Intent) => void
  readonly onEditLast: () => void
}

/** The field to write in. Enter sends, Shift+Enter breaks the line, Escape gives up an edit or a reply. */
export function Composer({ room, client, intent, onIntent, onEditLast }: Props) {
  const { id, title } = room.doc
  const [text, setText] = useState(drafts.get(id) ?? '')
  const field = useRef<HTMLTextAreaElement>(null)
  const editing = intent.kind === 'edit' ? intent.message : null

  // Before the next key can arrive, so that nothing typed is overwritten.
  useLayoutEffect(() => {
    setText(editing?.body ?? drafts.get(id) ?? '')
    const wantsFocus = intent.kind !== 'write' || matchMedia('(hover: hover)').matches
    if (wantsFocus) field.current?.focus()
  }, [intent.kind, editing?.id])
  useLayoutEffect(() => fit(field.current), [text])

  function change(next: string): void {
    setText(next)
    if (editing === null) drafts.set(id, next)
    if (next.trim() === '') client.typist.stop()
    else if (editing === null) client.typist.typed(id)
  }

  function submit(): void {
    const body = text.trim()
    if (body === '') return
    if (editing !== null) {
      if (body !== editing.body) void client.messages.edit(editing, body)
      // What was written stays in the field, to be made shorter.
      if (!client.messages.fits(body)) return
    } else {
      client.sender.post(id, body, intent.kind === 'reply' ? intent.message.id : null)
      drafts.delete(id)
      setText('')
    }
    client.typist.stop()
    onIntent({ kind: 'write' })
    field.current?.focus()
  }

  function pressed(event: KeyboardEvent): void {
    if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
      event.preventDefault()
      submit()
    } else if (event.key === 'Escape' && intent.kind !== 'write') {
      onIntent({ kind: 'write' })
    } else if (event.key === 'ArrowUp' && text === '' && intent.kind === 'write') {
      event.preventDefault()
      onEditLast()
    }
  }

  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault()
        submit()
      }}
    >
      <IntentLine intent={intent} onCancel={() => onIntent({ kind: 'write' })} />
      <div class="composer-row">
        <textarea
          id="composer"
          ref={field}
          rows={1}
          value={text}
          onInput={(event) => change(event.currentTarget.value)}
          onKeyDown={pressed}
          onBlur={() => client.typist.stop()}
          placeholder={`Write to ${title}`}
          aria-label={editing === null ? `Message to ${title}` : 'Edit your message'}
        />
        <button
          class="primary send"
          aria-label={editing === null ? 'Send' : 'Save'}
          disabled={text.trim() === ''}
        >
          <Icon name="send" />
        </button>
      </div>
    </form>
  )
}

function IntentLine({ intent, onCancel }: { intent: Intent; onCancel: () => void }) {
  if (intent.kind === 'write') return null
  return (
    <div class="intent">
      <Icon name={intent.kind} />
      <span>
        {intent.kind === 'edit' ? 'Editing your message' : `Replying to ${intent.message.sender.name}`}
      </span>
      <IconButton icon="close" label="Cancel" onClick={onCancel} />
    </div>
  )
}

/** As tall as its text; the style sheet says where that ends. */
function fit(field: HTMLTextAreaElement | null): void {
  if (field === null) return
  field.style.height = 'auto'
  field.style.height = `${field.scrollHeight}px`
}
