import type { Clock } from '../../clock.js'
import type { CustomCredentialConfig, PrincipalConfig } from '../../config/config.js'
import { expiryOfIssued } from '../lifetime.js'
import { within } from '../within.js'
import { accessToken, GrantError, NOTHING_HELD, refreshToken, type Grant } from './grant.js'
import { digestOf, fill } from './template.js'

/** Milliseconds that the code of others may take for one token. */
const PATIENCE_MS = 30_000

/** What a credential type of one's own is asked. */
export interface CredentialRequest {
  readonly principal: string
  readonly upstream: string
  /** What the config has under `options`, with secrets in their places. */
  readonly options: unknown
  /** The refresh token of the answer before, if it had one; it is kept sealed in the state. */
  readonly refreshToken: string | undefined
  /** Aborted when the answer comes too late. */
  readonly signal: AbortSignal
}

/** What it answers. */
export interface CredentialAnswer {
  readonly accessToken: string
  /** Without one the refresh token before stays good. */
  readonly refreshToken?: string
  /** Seconds; without it a JWT says itself when it expires, and any other token is renewed when the upstream refuses it. */
  readonly expiresIn?: number
}

/**
 * A credential type of one's own: gets a token, from a secrets manager say. It is called ahead of the expiry and after a
 * refusal, once for all callers, and never again while it is still at work.
 *
 * Throw a `GrantError` to say why there is none: its reason is logged. What else is thrown is logged by its name alone.
 */
export type CredentialTypeHandler = (request: CredentialRequest) => Promise<CredentialAnswer>

/** By the `name` that a credential of `type: custom` has in the config. */
export type CredentialTypes = Readonly<Record<string, CredentialTypeHandler>>

/** @throws {RangeError} where nothing is registered under the config's name */
export function customGrant (config: CustomCredentialConfig, clock: Clock, whose: { principal: string, upstream: string }, types: CredentialTypes): Grant {
  const handler = Object.hasOwn(types, config.name) ? types[config.name] : undefined
  if (handler === undefined) throw new RangeError(`no credential type is registered under the name ${JSON.stringify(config.name)}, which principal ${JSON.stringify(whose.principal)} has at upstream ${whose.upstream}: hand it to createSidecar as credentialTypes`)
  const from = `the credential type ${config.name}`
  return {
    type: config.type,
    kept: true,
    terms: JSON.stringify([config.type, config.name, ...digestOf(config.options)]),
    asks: config.name,
    seed: async () => NOTHING_HELD,
    async exchange (held, mayAsk) {
      const options = config.options === undefined ? undefined : await fill(config.options, held)
      mayAsk?.()
      const requestedAt = clock.now()
      const answer = await askHandler(handler, { ...whose, options, refreshToken: held.refreshToken?.reveal() }, from, clock)
      const token = accessToken(answer.accessToken, from)
      return {
        accessToken: token,
        refreshToken: answer.refreshToken === undefined ? undefined : refreshToken(answer.refreshToken, from),
        obtainedAt: requestedAt,
        expiresAt: expiryOfIssued(token.reveal(), answer.expiresIn, requestedAt),
      }
    },
  }
}

async function askHandler (handler: CredentialTypeHandler, request: Omit<CredentialRequest, 'signal'>, from: string, clock: Clock): Promise<Partial<CredentialAnswer>> {
  const patience = new AbortController()
  try {
    const late = (): Error => new GrantError('unavailable', `${from} gave no answer within ${PATIENCE_MS / 1000} s`)
    const answer: unknown = await within(clock, Promise.resolve().then(async () => await handler({ ...request, signal: patience.signal })), clock.elapsed() + PATIENCE_MS, late)
    return typeof answer === 'object' && answer !== null ? answer : {}
  } catch (error) {
    if (error instanceof GrantError) throw error
    throw new GrantError('unavailable', `${from} failed (${error instanceof Error && /^\w{1,64}$/.test(error.name) ? error.name : 'no Error was thrown'})`)
  } finally {
    patience.abort()
  }
}

/** Whether every custom credential of a config is of a registered type. @throws {RangeError} */
export function checkCustomTypes (principals: Iterable<PrincipalConfig>, clock: Clock, types: CredentialTypes): void {
  for (const { id: principal, credentials } of principals) {
    for (const [upstream, config] of credentials) if (config.type === 'custom') customGrant(config, clock, { principal, upstream }, types)
  }
}
