const FIRST_MS = 500
const MOST_MS = 15_000

/**
 * How long to wait before trying again, in milliseconds: what the service asked for, else doubling from half a second.
 * Half of it is left to chance, also at the cap, so that clients which failed together do not return together.
 */
export function retryDelayMs(
  attempts: number,
  retryAfterS?: number,
  random: () => number = Math.random,
): number {
  if (retryAfterS !== undefined) return retryAfterS * 1000 + random() * 250
  const full = Math.min(FIRST_MS * 2 ** attempts, MOST_MS)
  return full / 2 + random() * (full / 2)
}

export function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
