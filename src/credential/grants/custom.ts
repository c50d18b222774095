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
 * refusal, once for all callers, and never again while it is still at work: who waits for it is told so after 30 s, and an
 * answer that comes later is taken in then.
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
  /** What it was asked and has not answered yet, or what nobody has taken in. */
  let work: Work | undefined
  const begin = (options: unknown, refreshToken: string | undefined): Work => {
    const begun = { refreshToken, requestedAt: clock.now(), ...ask(handler, { ...whose, options, refreshToken }, from) }
    begun.answer.catch(() => { if (work === begun) work = undefined })
    return begun
  }
  return {
    type: config.type,
    kept: true,
    terms: JSON.stringify([config.type, config.name, ...digestOf(config.options)]),
    asks: config.name,
    seed: async () => NOTHING_HELD,
    async exchange (held, mayAsk) {
      const refresh = held.refreshToken?.reveal()
      // What it was asked by a refresh token that is not held any more is of no use, but must have come to its end.
      if (work !== undefined && work.refreshToken !== refresh) await ended(work, from, clock).catch((error: unknown) => { if (work !== undefined) throw error })
      if (work === undefined || work.refreshToken !== refresh) {
        const options = config.options === undefined ? undefined : await fill(config.options, held)
        mayAsk?.()
        work = begin(options, refresh)
      }
      const { requestedAt } = work
      const answer = await ended(work, from, clock)
      work = undefined
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

/** One call of a handler, which goes on when nobody waits for it any more. */
interface Work {
  /** What it was asked by. */
  readonly refreshToken: string | undefined
  /** Milliseconds since the epoch. */
  readonly requestedAt: number
  readonly answer: Promise<Partial<CredentialAnswer>>
  readonly patience: AbortController
}

function ask (handler: CredentialTypeHandler, request: Omit<CredentialRequest, 'signal'>, from: string): Pick<Work, 'answer' | 'patience'> {
  const patience = new AbortController()
  const answer = Promise.resolve().then(async () => await handler({ ...request, signal: patience.signal })).then((given: unknown) => {
    return typeof given === 'object' && given !== null ? given : {}
  }, (error: unknown) => {
    if (error instanceof GrantError) throw error
    throw new GrantError('unavailable', `${from} failed (${error instanceof Error && /^\w{1,64}$/.test(error.name) ? error.name : 'no Error was thrown'})`)
  }).finally(() => { patience.abort() })
  return { answer, patience }
}

/** Its answer, for as long as callers can be made to wait. @throws {GrantError} */
async function ended ({ answer, patience }: Work, from: string, clock: Clock): Promise<Partial<CredentialAnswer>> {
  const again = patience.signal.aborted
  try {
    return await within(clock, answer, clock.elapsed() + PATIENCE_MS, () => new GrantError('unavailable', again ? `${from} is still at work on what it was asked before` : `${from} gave no answer within ${PATIENCE_MS / 1000} s`))
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
