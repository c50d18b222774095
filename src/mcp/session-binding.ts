import type { Exchange } from '../exchange.js'
import type { Seal } from '../state/seal.js'
import { StateError } from '../state/store.js'

/** Whose something is: the agent of a principal; where there is none, anybody who calls without one in the same way. */
type Owner = Pick<Exchange, 'upstream' | 'origin' | 'caller' | 'authority'>
/** What is bound: the id of a session (MCP 2025-03-26 to 2025-11-25), or where to POST to (2024-11-05). */
type Kind = 'session' | 'endpoint'

/**
 * Binds what an upstream names to the agent that it named it for. The agent gets it sealed, together with whose it is, so
 * nothing has to be kept: every sidecar that has the same key can open it, and nobody else learns what is in it or can use it.
 */
export class SessionBinding {
  readonly #seal: Seal
  /** The session that each open connection showed last: an agent shows the same one with each call. */
  readonly #shown = new WeakMap<object, Shown>()

  constructor (seal: Seal) {
    this.#seal = seal
  }

  /** @returns visible ASCII (MCP 2025-11-25, transports, session management), and safe in a URL */
  bind (kind: Kind, own: string, owner: Owner): string {
    return this.#seal.close(nameOf(kind, owner), Buffer.from(own, 'latin1')).toString('base64url')
  }

  /** @returns what the upstream named; undefined where that was for somebody else, or nothing of ours */
  open (kind: Kind, shown: string, owner: Owner): string | undefined {
    try {
      return this.#seal.open(nameOf(kind, owner), Buffer.from(shown, 'base64url')).toString('latin1')
    } catch (error) {
      if (error instanceof StateError) return undefined
      throw error
    }
  }

  /**
   * As `open`, for a session.
   * @param connection that the id came by: opening it each time would be a tenth of what a call costs
   */
  openSession (shown: string, owner: Owner, connection: object): string | undefined {
    const last = this.#shown.get(connection)
    if (last?.shown === shown && isSame(last.owner, owner)) return last.own
    const own = this.open('session', shown, owner)
    if (own !== undefined) {
      const { upstream, origin, caller, authority } = owner
      this.#shown.set(connection, { shown, own, owner: { upstream, origin, caller, authority } })
    }
    return own
  }
}

interface Shown { readonly shown: string, readonly own: string, readonly owner: Owner }

function isSame (one: Owner, other: Owner): boolean {
  return one.upstream === other.upstream && one.origin === other.origin && one.authority === other.authority &&
    (one.caller === other.caller || (one.caller !== undefined && other.caller !== undefined && one.caller.principal === other.caller.principal && one.caller.agent === other.caller.agent))
}

/** The origin is part of it: what one server named, another one that has taken its place in the config must not be sent. */
function nameOf (kind: Kind, { upstream, origin, caller, authority }: Owner): string {
  return JSON.stringify([kind, upstream, origin, authority === 'relay' ? 'relay' : caller === undefined ? 'anonymous' : [caller.principal, caller.agent]])
}

/** The MCP session of one call, as its agent and as its upstream know it. */
export class CallSession {
  readonly #binding: SessionBinding
  readonly #owner: Owner
  /** The upstream's own id; undefined where the call brought none. */
  own: string | undefined
  #shown = ''

  constructor (binding: SessionBinding, owner: Owner) {
    this.#binding = binding
    this.#owner = owner
  }

  /** @param shown the id that the call brought, by which connection @returns whether it is its caller's */
  open (shown: string, connection: object): boolean {
    this.own = this.#binding.openSession(shown, this.#owner, connection)
    this.#shown = shown
    return this.own !== undefined
  }

  /** An id that the upstream names, as the agent shall know it: the same one for as long as the session is the same. */
  show (own: string): string {
    return own === this.own ? this.#shown : this.#binding.bind('session', own, this.#owner)
  }
}
