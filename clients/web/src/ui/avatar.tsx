import { hueClass, initials } from './format'

export function Avatar({ id, name }: { id: string; name: string }) {
  return (
    <span class={`avatar ${hueClass(id)}`} aria-hidden="true">
      {initials(name)}
    </span>
  )
}
