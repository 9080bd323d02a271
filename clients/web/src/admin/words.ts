import { isRecord, type ErrorObject } from '../wire/errors'

const TIME = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' })
const NUMBER = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 })
const BYTES = ['B', 'KB', 'MB', 'GB', 'TB'] as const

/** The last time that there is a date for; the service says that a ban has no end with a later one. */
const LAST_TIME = 8.64e15

export const timeText = (at: number): string => TIME.format(at)
export const numberText = (value: number): string => NUMBER.format(value)

/** Whether a ban's end is none. */
export function isForever(until: number | null): boolean {
  return until === null || until > LAST_TIME
}

/** What the service says of an error, with what it says of each field. */
export function sentenceOf(error: ErrorObject): string {
  const fields = Object.entries(error.fields ?? {}).map(
    ([name, problems]) => `${name}: ${problems.join(' ')}`,
  )
  return [error.message, ...fields].join(' ')
}

export const UNITS = { minutes: 60, hours: 3_600, days: 86_400 } as const

export type Unit = keyof typeof UNITS | 'forever'

/** How long a ban is to hold, in seconds; undefined is without end, null is no length of time. */
export function secondsOf(amount: string, unit: Unit): number | undefined | null {
  if (unit === 'forever') return undefined
  const count = Number(amount)
  return /^\d+$/u.test(amount.trim()) && count >= 1 ? count * UNITS[unit] : null
}

/** A length of time in its two largest units. */
export function durationText(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds))
  const parts: readonly (readonly [number, string])[] = [
    [Math.floor(whole / 86_400), 'd'],
    [Math.floor(whole / 3_600) % 24, 'h'],
    [Math.floor(whole / 60) % 60, 'min'],
    [whole % 60, 's'],
  ]
  const first = parts.findIndex(([count]) => count > 0)
  if (first < 0) return '0 s'
  return parts
    .slice(first, first + 2)
    .filter(([count]) => count > 0)
    .map(([count, unit]) => `${count} ${unit}`)
    .join(' ')
}

export function bytesText(bytes: number): string {
  let value = bytes
  let unit = 0
  while (value >= 1_024 && unit < BYTES.length - 1) {
    value /= 1_024
    unit += 1
  }
  return `${numberText(value)} ${BYTES[unit] ?? 'B'}`
}

/** A figure in words. Its name says the unit: `_bytes`, `_s`, `_per_s`, `_share`, `_at`. */
export function figureText(name: string, value: unknown): string {
  if (typeof value === 'number') {
    if (name.endsWith('_bytes')) return bytesText(value)
    if (name.endsWith('_share')) return `${numberText(value * 100)} %`
    if (name === 'at' || name.endsWith('_at')) return timeText(value)
    if (name.endsWith('_s') && !name.endsWith('per_s')) return durationText(value)
    return numberText(value)
  }
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  if (value === null || value === undefined) return 'not known'
  if (Array.isArray(value)) return value.map((item) => figureText('', item)).join(', ') || 'none'
  if (isRecord(value)) {
    const inside = Object.entries(value).map(([key, item]) => `${key} ${figureText(key, item)}`)
    return inside.join(', ') || 'none'
  }
  return String(value)
}

/** Figures whose names would not say what they are. */
const NAMES: Readonly<Record<string, string>> = {
  at: 'As of',
  cpu_share: 'CPU (of one core)',
  node: 'Answering node',
  rooms: 'Active rooms',
}

/** The name of a figure in words. */
export function figureName(name: string): string {
  const plain = name
    .replace(/_per_s$/u, ' per second')
    .replace(/_(bytes|s|share|at)$/u, '')
    .replaceAll('_', ' ')
  return NAMES[name] ?? plain.charAt(0).toUpperCase() + plain.slice(1)
}

/** Why a token does not open the page, or not any more. */
export function refusalText(error: ErrorObject): string {
  return error.code === 'forbidden'
    ? `This is not an administrator's token. ${error.message}`
    : sentenceOf(error)
}
