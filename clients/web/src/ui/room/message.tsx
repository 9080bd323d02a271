import { useState } from 'preact/hooks'
import type { MessageDoc } from '../../wire/documents'
import { Avatar } from '../avatar'
import { clockTime, fullTime, linkPieces } from '../format'
import { IconButton } from '../icons'
import { pure } from '../pure'
import { EmojiPicker, Reactions } from './reactions'

export interface MessageHandlers {
  readonly onReply: (message: MessageDoc) => void
  readonly onEdit: (message: MessageDoc) => void
  readonly onRemove: (message: MessageDoc) => void
  readonly onReact: (message: MessageDoc, emoji: string, on: boolean) => void
  /** Bring a message that is answered into view. */
  readonly onShow: (message: MessageDoc) => void
  readonly nameOf: (user: string) => string
}

interface Props {
  readonly message: MessageDoc
  /** The message that is answered, if it is among those that are here. */
  readonly quoted: MessageDoc | null
  /** Whether the sender's name stands above it. */
  readonly isFirst: boolean
  readonly me: string
  readonly mayRemove: boolean
  readonly elementId: string
  readonly handlers: MessageHandlers
}

export const MessageItem = pure((props: Props) => {
  const { message, isFirst, me } = props
  const { sender } = message
  return (
    <li
      class="message"
      id={props.elementId}
      data-first={isFirst}
      data-own={sender.id === me}
      data-mention={!message.deleted && message.mentions.includes(me)}
      data-rev={message.rev}
      tabIndex={-1}
    >
      {isFirst && <Avatar id={sender.id} name={sender.name} />}
      <div class="content">
        {isFirst && (
          <p class="byline">
            <b>{sender.name}</b>
            {sender.guest && <span class="tag">guest</span>}
            <Time at={message.created_at} />
          </p>
        )}
        {message.reply_to !== null && <Quote quoted={props.quoted} onShow={props.handlers.onShow} />}
        <Body message={message} />
        <Reactions message={message} me={me} handlers={props.handlers} />
      </div>
      {!message.deleted && <Actions {...props} />}
    </li>
  )
})

function Time({ at }: { at: number }) {
  return (
    <time dateTime={new Date(at).toISOString()} title={fullTime(at)}>
      {clockTime(at)}
    </time>
  )
}

function Body({ message }: { message: MessageDoc }) {
  if (message.deleted) return <p class="body deleted">This message was deleted.</p>
  return (
    <p class="body">
      {linkPieces(message.body).map((piece) =>
        piece.isLink ? (
          <a href={piece.text} target="_blank" rel="noopener noreferrer nofollow">
            {piece.text}
          </a>
        ) : (
          piece.text
        ),
      )}
      {message.edited_at !== null && (
        <span class="edited" title={fullTime(message.edited_at)}>
          {' '}
          (edited)
        </span>
      )}
    </p>
  )
}

function Quote({ quoted, onShow }: { quoted: MessageDoc | null; onShow: (message: MessageDoc) => void }) {
  if (quoted === null) return <p class="quote">An earlier message</p>
  return (
    <button type="button" class="quote" onClick={() => onShow(quoted)}>
      <b>{quoted.sender.name}</b> {quoted.deleted ? 'deleted message' : quoted.body}
    </button>
  )
}

function Actions({ message, me, mayRemove, handlers }: Props) {
  const [isPicking, setPicking] = useState(false)
  const [isAsked, setAsked] = useState(false)
  const isOwn = message.sender.id === me
  return (
    <div class="actions" role="group" aria-label="For this message" data-open={isPicking || isAsked}>
      {isPicking && (
        <EmojiPicker
          onPick={(emoji) => {
            setPicking(false)
            handlers.onReact(message, emoji, true)
          }}
          onClose={() => setPicking(false)}
        />
      )}
      <IconButton icon="react" label="React" pressed={isPicking} onClick={() => setPicking(!isPicking)} />
      <IconButton icon="reply" label="Reply" onClick={() => handlers.onReply(message)} />
      {isOwn && <IconButton icon="edit" label="Edit" onClick={() => handlers.onEdit(message)} />}
      {mayRemove && !isAsked && <IconButton icon="remove" label="Delete" onClick={() => setAsked(true)} />}
      {isAsked && (
        <button
          type="button"
          class="danger"
          ref={(button) => button?.focus()}
          onClick={() => handlers.onRemove(message)}
          onBlur={() => setAsked(false)}
        >
          Really delete?
        </button>
      )}
    </div>
  )
}
