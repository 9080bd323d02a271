import { useState } from 'preact/hooks'
import type { AdminClient } from '../client'
import type { BanDoc } from '../events'
import { isForever, secondsOf, sentenceOf, UNITS, type Unit } from '../words'
import type { Question } from './ask'
import { Field, PagedTable, Problem, Section, TextField, Time } from './parts'
import type { SectionProps } from './sections'

/** Who is kept out of the service, and until when. */
export function Bans({ client, isOnline, ask }: SectionProps) {
  return (
    <Section title="Bans">
      <BanForm client={client} />
      <PagedTable
        pager={client.bans}
        isOnline={isOnline}
        caption="Bans"
        empty="Nobody is banned."
        keyOf={(ban: BanDoc) => ban.user}
        columns={[
          { label: 'User', cell: ({ user }) => <code>{user}</code> },
          {
            label: 'Until',
            cell: ({ until }) => (until === null || isForever(until) ? 'without end' : <Time at={until} />),
          },
          { label: 'Reason', cell: ({ reason }) => reason },
          {
            label: 'By',
            cell: ({ by, at }) => (
              <>
                {by}, <Time at={at} />
              </>
            ),
          },
          {
            label: 'Action',
            cell: ({ user }) => (
              <button type="button" onClick={() => ask(unbanQuestion(client, user))}>
                Unban<span class="unseen"> {user}</span>
              </button>
            ),
          },
        ]}
      />
    </Section>
  )
}

function BanForm({ client }: { client: AdminClient }) {
  const [user, setUser] = useState('')
  const [amount, setAmount] = useState('1')
  const [unit, setUnit] = useState<Unit>('days')
  const [reason, setReason] = useState('')
  const [problem, setProblem] = useState<string | null>(null)

  async function submit(event: Event): Promise<void> {
    event.preventDefault()
    const seconds = secondsOf(amount, unit)
    if (seconds === null) return setProblem('The length of the ban is a whole number from 1 on.')
    setProblem(null)
    const banned = user.trim()
    const request = { user: banned, reason: reason.trim(), ...(seconds === undefined ? {} : { seconds }) }
    const error = await client.act('user:ban', request, `${banned} is banned.`)
    if (error !== null) return setProblem(sentenceOf(error))
    setUser('')
    setReason('')
    void client.bans.search(null)
  }

  return (
    <form class="fields" aria-label="Ban a user" onSubmit={(event) => void submit(event)}>
      <TextField id="ban-user" label="User id to ban" value={user} onValue={setUser} required />
      <TextField id="ban-reason" label="Reason" value={reason} onValue={setReason} required />
      <Field id="ban-unit" label="For how long, in">
        <select id="ban-unit" value={unit} onChange={(event) => setUnit(event.currentTarget.value as Unit)}>
          {Object.keys(UNITS).map((name) => (
            <option key={name} value={name}>
              {name}
            </option>
          ))}
          <option value="forever">without end</option>
        </select>
      </Field>
      {unit !== 'forever' && (
        <Field id="ban-amount" label={`How many ${unit}`}>
          <input
            id="ban-amount"
            inputMode="numeric"
            value={amount}
            onInput={(event) => setAmount(event.currentTarget.value)}
            required
          />
        </Field>
      )}
      <button class="danger">Ban</button>
      <Problem text={problem} />
    </form>
  )
}

function unbanQuestion(client: AdminClient, user: string): Question {
  return {
    title: `Unban ${user}?`,
    text: 'The user may come back at once.',
    verb: 'Unban',
    wantsReason: false,
    typed: null,
    act: () => client.act('user:unban', { user }, `${user} is not banned any more.`),
    onDone: () => void client.bans.reload(),
  }
}
