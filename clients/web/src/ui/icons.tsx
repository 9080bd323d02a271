const PATHS = {
  back: 'M15 5l-7 7 7 7',
  close: 'M6 6l12 12M18 6L6 18',
  down: 'M12 5v13M6 12l6 6 6-6',
  edit: 'M4 20l1-4L16 5l3 3L8 19z',
  members:
    'M9 11a3.5 3.5 0 100-7 3.5 3.5 0 000 7zM2.5 20c.5-4 3-6 6.500-6s6 2 6.500 6M16 4.300a3.500 3.500 0 010 6.400M18 14.500c2 .8 3.200 2.600 3.500 5.500',
  plus: 'M12 5v14M5 12h14',
  react: 'M12 21a9 9 0 100-18 9 9 0 000 18zM8.500 14c1.800 2.700 5.200 2.700 7 0M9 9.500v.5M15 9.500v.5',
  remove: 'M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13',
  reply: 'M9 6l-5 5 5 5M4 11h9c4 0 6 2 7 6',
  search: 'M10.500 17a6.500 6.500 0 100-13 6.500 6.500 0 000 13zM15.500 15.500L20 20',
  send: 'M4 12L20 4l-5 16-3-7z',
} as const

export type IconName = keyof typeof PATHS

/** A line drawing beside, or in place of, words; the words are for assistive technology to read. */
export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  )
}

export function IconButton(props: {
  icon: IconName
  label: string
  onClick: () => void
  class?: string
  pressed?: boolean
}) {
  return (
    <button
      type="button"
      class={`icon-button ${props.class ?? ''}`}
      aria-label={props.label}
      aria-pressed={props.pressed}
      title={props.label}
      onClick={props.onClick}
    >
      <Icon name={props.icon} />
    </button>
  )
}
