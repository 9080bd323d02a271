import { useRef, useState } from 'preact/hooks'
import type { ErrorObject } from '../../wire/errors'
import { sentenceOf } from '../words'
import { Dialog, focusTitle, Problem, TextField } from './parts'

/** What is to be asked before something is done that cannot be taken back. */
export interface Question {
  readonly title: string
  readonly text: string
  /** What is on the button that does it. */
  readonly verb: string
  /** Whether a reason belongs to it. */
  readonly wantsReason: boolean
  /** What has to be typed, so that nobody does it by a slip; null if a press is enough. */
  readonly typed: string | null
  readonly act: (reason: string) => Promise<ErrorObject | null>
  readonly onDone: () => void
}

/** Asks, acts, and shows what the service says; stays open as long as it was not done. */
export function Ask({ question, onClose }: { question: Question; onClose: () => void }) {
  const [reason, setReason] = useState('')
  const [typed, setTyped] = useState('')
  const [problem, setProblem] = useState<string | null>(null)
  const isBusy = useRef(false)

  async function submit(event: Event): Promise<void> {
    event.preventDefault()
    const form = event.currentTarget
    if (question.wantsReason && reason.trim() === '') return setProblem('A reason is needed.')
    if (question.typed !== null && typed.trim() !== question.typed)
      return setProblem(`Type ${question.typed} to confirm.`)
    // A button that is disabled loses the focus; so a second press is not taken instead.
    if (isBusy.current) return
    isBusy.current = true
    setProblem(null)
    const error = await question.act(reason.trim())
    isBusy.current = false
    if (error !== null) return setProblem(sentenceOf(error))
    closeAround(form)
    // The row with the button that had the focus is about to go.
    focusTitle()
    question.onDone()
  }

  return (
    <Dialog title={question.title} onClose={onClose}>
      <form noValidate onSubmit={(event) => void submit(event)}>
        <p>{question.text}</p>
        {question.wantsReason && (
          <TextField id="ask-reason" label="Reason" value={reason} onValue={setReason} required />
        )}
        {question.typed !== null && (
          <TextField
            id="ask-typed"
            label={`Type ${question.typed} to confirm`}
            value={typed}
            onValue={setTyped}
            required
          />
        )}
        <Problem text={problem} />
        <div class="buttons">
          <button class="danger">{question.verb}</button>
          <button type="button" class="quiet" onClick={(event) => closeAround(event.currentTarget)}>
            Cancel
          </button>
        </div>
      </form>
    </Dialog>
  )
}

function closeAround(part: EventTarget | null): void {
  if (part instanceof Element) part.closest('dialog')?.close()
}
