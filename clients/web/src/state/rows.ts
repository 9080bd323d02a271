import type { MessageDoc } from '../wire/documents'

/** Messages of one sender that follow each other within this time stand under one name. */
const GROUP_WITHIN_MS = 5 * 60_000

export type Row =
  | { readonly type: 'day'; readonly key: string; readonly at: number }
  | { readonly type: 'new'; readonly key: string }
  | {
      readonly type: 'message'
      readonly key: string
      readonly message: MessageDoc
      readonly isFirst: boolean
    }

/** Messages with what stands between them: the days, and the line before what is new. */
export function rowsOf(messages: readonly MessageDoc[], newAfter: number | null, me: string | null): Row[] {
  const rows: Row[] = []
  let previous: MessageDoc | undefined
  let lineDrawn = newAfter === null
  for (const message of messages) {
    const startsDay = previous === undefined || dayOf(previous.created_at) !== dayOf(message.created_at)
    if (startsDay) rows.push({ type: 'day', key: `day ${message.seq}`, at: message.created_at })
    const startsNew = !lineDrawn && newAfter !== null && message.seq > newAfter && message.sender.id !== me
    if (startsNew) {
      rows.push({ type: 'new', key: 'new' })
      lineDrawn = true
    }
    const isFirst = startsDay || startsNew || previous === undefined || !belongsTo(previous, message)
    rows.push({ type: 'message', key: message.id, message, isFirst })
    previous = message
  }
  return rows
}

function belongsTo(previous: MessageDoc, message: MessageDoc): boolean {
  return (
    previous.sender.id === message.sender.id &&
    previous.sender.name === message.sender.name &&
    message.reply_to === null &&
    message.created_at - previous.created_at < GROUP_WITHIN_MS
  )
}

function dayOf(at: number): string {
  return new Date(at).toDateString()
}
