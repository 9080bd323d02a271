import type { Notice } from '../state/state'
import { IconButton } from './icons'

export function Notices({
  notices,
  onDismiss,
}: {
  notices: readonly Notice[]
  onDismiss: (id: number) => void
}) {
  return (
    <div class="notices" role="status" aria-live="polite">
      {notices.map((notice) => (
        <div key={notice.id} class="notice" data-level={notice.level}>
          <span>{notice.text}</span>
          <IconButton icon="close" label="Dismiss" onClick={() => onDismiss(notice.id)} />
        </div>
      ))}
    </div>
  )
}
