/** The codes of the service's catalogue of errors. */
export type ServiceCode =
  | 'bad_request'
  | 'unauthorized'
  | 'token_expired'
  | 'forbidden'
  | 'banned'
  | 'muted'
  | 'not_found'
  | 'conflict'
  | 'room_full'
  | 'too_large'
  | 'rate_limited'
  | 'slow_mode'
  | 'draining'
  | 'unavailable'
  | 'internal'

/** Codes that arise on this side: no ack in time, no connection, an answer that is none, a call that ends connections. */
export type LocalCode = 'no_answer' | 'bad_answer' | 'connection_lost'

export interface ErrorObject {
  readonly code: ServiceCode | LocalCode
  readonly message: string
  readonly retryable: boolean
  /** Seconds. */
  readonly retry_after?: number
  readonly fields?: Readonly<Record<string, readonly string[]>>
}

export const NO_ANSWER: ErrorObject = {
  code: 'no_answer',
  message: 'The service did not answer in time.',
  retryable: true,
}

export const BAD_ANSWER: ErrorObject = {
  code: 'bad_answer',
  message: 'The service answered with something that this page does not understand.',
  retryable: false,
}

/** What the service would say of a body over its limit, if it could read the frame that carries it. */
export const TOO_LONG: ErrorObject = { code: 'too_large', message: 'That is too long.', retryable: false }

export const LOST_EACH_TIME: ErrorObject = {
  code: 'connection_lost',
  message: 'The connection was lost each time this was sent.',
  retryable: false,
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function isErrorObject(value: unknown): value is ErrorObject {
  return isRecord(value) && typeof value['code'] === 'string' && typeof value['message'] === 'string'
}

/** An error in words for the person in front of the page. */
export function explain(error: ErrorObject): string {
  switch (error.code) {
    case 'banned':
      return 'You are banned here.'
    case 'muted':
      return 'You are muted in this room for now.'
    case 'not_found':
      return 'There is no such room or message.'
    case 'room_full':
      return 'The room is full.'
    case 'too_large':
      return 'That is too long.'
    case 'rate_limited':
      return 'That was too fast; one moment.'
    case 'slow_mode':
      return 'The room is in slow mode; your message waits its turn.'
    case 'token_expired':
      return 'Your guest pass has ended. Choose a name to come back.'
    case 'unauthorized':
      return 'The service does not know this pass. Choose a name to come in.'
    case 'draining':
      return 'The service is restarting.'
    case 'unavailable':
      return 'The service cannot reach its store right now.'
    default:
      return error.message
  }
}
