import { useLayoutEffect, useRef } from 'preact/hooks'
import type { MessageDoc, ReactionDoc } from '../../wire/documents'
import type { MessageHandlers } from './message'

const HANDFUL = ['👍', '❤️', '😂', '🎉', '😮', '👀'] as const

export function Reactions(props: { message: MessageDoc; me: string; handlers: MessageHandlers }) {
  const { message, me, handlers } = props
  if (message.deleted || message.reactions.length === 0) return null
  return (
    <div class="reactions" role="group" aria-label="Reactions">
      {message.reactions.map((reaction) => {
        const isMine = reaction.users.includes(me)
        return (
          <button
            type="button"
            key={reaction.emoji}
            class="reaction"
            aria-pressed={isMine}
            title={givers(reaction, handlers.nameOf)}
            onClick={() => handlers.onReact(message, reaction.emoji, !isMine)}
          >
            {reaction.emoji} {reaction.count}
          </button>
        )
      })}
    </div>
  )
}

export function EmojiPicker({ onPick, onClose }: { onPick: (emoji: string) => void; onClose: () => void }) {
  const first = useRef<HTMLButtonElement>(null)
  useLayoutEffect(() => first.current?.focus(), [])
  return (
    <div
      class="emoji-picker"
      role="group"
      aria-label="Reactions to give"
      onKeyDown={(event) => {
        if (event.key === 'Escape') onClose()
      }}
    >
      {HANDFUL.map((emoji, index) => (
        <button type="button" key={emoji} ref={index === 0 ? first : null} onClick={() => onPick(emoji)}>
          {emoji}
        </button>
      ))}
    </div>
  )
}

function givers(reaction: ReactionDoc, nameOf: (user: string) => string): string {
  const names = reaction.users.map(nameOf).join(', ')
  return reaction.count > reaction.users.length ? `${names} and others` : names
}
