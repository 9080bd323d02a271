import type { FunctionComponent } from 'preact'
import type { AdminClient } from '../client'
import type { AdminState } from '../state'
import type { Question } from './ask'
import { Audit } from './audit'
import { Bans } from './bans'
import { Connections } from './connections'
import { SendNotice } from './notices'
import { Overview } from './overview'
import { Rooms } from './rooms'
import { Tokens } from './tokens'

/** What every section is given. */
export interface SectionProps {
  readonly client: AdminClient
  readonly state: AdminState
  readonly isOnline: boolean
  readonly ask: (question: Question) => void
}

export interface SectionEntry {
  /** In the address, behind the #. */
  readonly name: string
  readonly label: string
  readonly draw: FunctionComponent<SectionProps>
}

export const OVERVIEW: SectionEntry = { name: 'overview', label: 'Overview', draw: Overview }

export const SECTIONS: readonly SectionEntry[] = [
  OVERVIEW,
  { name: 'connections', label: 'Connections', draw: Connections },
  { name: 'rooms', label: 'Rooms', draw: Rooms },
  { name: 'bans', label: 'Bans', draw: Bans },
  { name: 'tokens', label: 'Tokens', draw: Tokens },
  { name: 'notices', label: 'Notices', draw: SendNotice },
  { name: 'audit', label: 'Audit log', draw: Audit },
]

/** The section that the address names; the overview if it names none. */
export function sectionIn(hash: string): SectionEntry {
  return SECTIONS.find(({ name }) => `#${name}` === hash) ?? OVERVIEW
}
