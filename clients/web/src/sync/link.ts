import type { Socket } from 'socket.io-client'
import { connectionAfter, type ConnectionEvent, type ConnectionMemory } from '../state/connection'
import type { Store } from '../state/store'
import { isErrorObject, type ErrorObject } from '../wire/errors'
import type { Pushes } from '../wire/events'
import { retryDelayMs } from './backoff'

/** These say that the token is worth nothing any more: only a new name helps. */
const IDENTITY_LOST: readonly string[] = ['unauthorized', 'token_expired']

export interface LinkHooks {
  readonly onApart: () => void
  readonly onIdentityLost: (error: ErrorObject) => void
  /** Further codes that say so, where a token must be more than valid. */
  readonly identityLost?: readonly string[]
}

/** Starts and watches the connection, keeps its state in the store, and decides when to try again. */
export class Link<S extends { readonly connection: ConnectionMemory }> {
  private closing: Pushes['closing'] | null = null
  private refusals = 0
  private retry: ReturnType<typeof setTimeout> | undefined

  constructor(
    private readonly socket: Socket,
    private readonly store: Store<S>,
    private readonly hooks: LinkHooks,
    private readonly hasNetwork: () => boolean = () => navigator.onLine,
  ) {
    socket.on('disconnect', () => this.disconnected())
    socket.on('connect_error', (error: Error & { data?: unknown }) => this.connectFailed(error))
  }

  /** Connect, or connect again after the connection was ended for good. */
  start(): void {
    clearTimeout(this.retry)
    this.closing = null
    this.apply({ type: 'start' })
    this.socket.connect()
  }

  stop(): void {
    clearTimeout(this.retry)
    this.socket.removeAllListeners()
    this.socket.disconnect()
  }

  greeted(): void {
    this.refusals = 0
    this.closing = null
    this.apply({ type: 'hello' })
  }

  announced(closing: Pushes['closing']): void {
    this.closing = closing
    this.apply({ type: 'closing', message: closing.message })
  }

  /** The device got a network, or lost it; the stock client learns of neither by itself. */
  networkChanged(): void {
    const { state } = this.store.get().connection.shown
    if (state === 'online') return
    this.apply({ type: 'unreachable', hasNetwork: this.hasNetwork() })
    if (this.hasNetwork() && state !== 'refused' && !this.socket.connected) this.socket.disconnect().connect()
  }

  private disconnected(): void {
    this.hooks.onApart()
    const { closing } = this
    const error = closing === null ? null : errorOf(closing)
    if (error !== null && this.isIdentityLost(error)) return this.hooks.onIdentityLost(error)
    const comesBack = closing?.reconnect ?? false
    this.apply({ type: 'lost', returns: this.socket.active || comesBack, hasNetwork: this.hasNetwork() })
    if (!this.socket.active && comesBack) this.connectIn(retryDelayMs(0, closing?.retry_after))
  }

  private connectFailed(failure: Error & { data?: unknown }): void {
    // An active socket could not reach the service and goes on trying; else the service itself refused it.
    if (this.socket.active) return this.apply({ type: 'unreachable', hasNetwork: this.hasNetwork() })
    this.hooks.onApart()
    const error = isErrorObject(failure.data) ? failure.data : unknownRefusal(failure.message)
    this.apply({ type: 'refused', error })
    if (this.isIdentityLost(error)) this.hooks.onIdentityLost(error)
    else if (error.retryable) this.connectIn(retryDelayMs(this.refusals++, error.retry_after))
  }

  private isIdentityLost({ code }: ErrorObject): boolean {
    return IDENTITY_LOST.includes(code) || (this.hooks.identityLost ?? []).includes(code)
  }

  private connectIn(ms: number): void {
    clearTimeout(this.retry)
    this.retry = setTimeout(() => this.socket.connect(), ms)
  }

  private apply(event: ConnectionEvent): void {
    this.store.update((state) => ({ ...state, connection: connectionAfter(state.connection, event) }))
  }
}

function errorOf(closing: Pushes['closing']): ErrorObject {
  const error = { code: closing.code, message: closing.message, retryable: closing.reconnect }
  return isErrorObject(error) ? error : unknownRefusal(closing.message)
}

function unknownRefusal(message: string): ErrorObject {
  return { code: 'bad_answer', message, retryable: false }
}
