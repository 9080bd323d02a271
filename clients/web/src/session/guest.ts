import { BAD_ANSWER, isErrorObject, isRecord, NO_ANSWER } from '../wire/errors'
import type { Result } from '../wire/wire'

/** Ask for a guest's token. The service says no where guests are off. */
export async function becomeGuest(
  name: string,
  ask: typeof fetch = fetch,
): Promise<Result<{ token: string }>> {
  let answer: unknown
  try {
    const response = await ask('/api/guest', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ name }),
    })
    answer = await response.json()
  } catch {
    return { ok: false, error: NO_ANSWER }
  }
  if (isRecord(answer)) {
    if (typeof answer['token'] === 'string') return { ok: true, data: { token: answer['token'] } }
    if (isErrorObject(answer)) return { ok: false, error: answer }
    if (isErrorObject(answer['error'])) return { ok: false, error: answer['error'] }
  }
  return { ok: false, error: BAD_ANSWER }
}

/** What keeps a name from being tried at all, in words; null if nothing does. */
export function nameProblem(name: string): string | null {
  return name.trim() === '' ? 'A name is needed, and spaces alone are none.' : null
}
