import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { createIssuer, type Issuer, type TokenAnswer, type TokenSet } from '../../src/demo/issuer.js'
import { drawIssuerFault, type IssuerFault } from './faults.js'
import type { Ledger } from './ledger.js'

/** Seconds an access token lives. */
export const LIFETIME = 10
/** Seconds in which an issuer gives the successor of a spent refresh token again, as those do that rotate them for browsers. */
const GRACE = 90

export interface FailingIssuer {
  readonly issuer: Issuer
  readonly secrets: Readonly<Record<'agents' | 'nightly', string>>
  failing: boolean
  /** It answers nobody, until told otherwise. */
  outage: boolean
  login (principal: string): Promise<TokenSet>
}

/** The demo's issuer, which rotates refresh tokens and takes a second use for theft, made to fail now and then. */
export async function startIssuer (ledger: Ledger, audience: string): Promise<FailingIssuer> {
  const secrets = { agents: randomBytes(24).toString('base64url'), nightly: randomBytes(24).toString('base64url') }
  /** Whose a family of refresh tokens is, the newest last. */
  const families = new Map<string, string>()
  const issuer = await createIssuer({
    audience,
    lifetime: LIFETIME,
    graceSeconds: GRACE,
    clients: Object.entries(secrets).map(([id, secret]) => ({ id, secret })),
    onTokenRequest: async (params, next) => {
      const principal = principalOf(params)
      const fault = self.outage ? 'issuer_outage' : self.failing ? drawIssuerFault(Math.random()) : undefined
      ledger.asked(principal, fault)
      if (fault !== undefined) return await fail(fault, next)
      const answer = await next()
      if (answer.status === 200) return answer
      const { error } = answer.body as { error: string }
      if (!ledger.isRevoked(principal)) ledger.wrong(`the issuer refused a token request: ${error}`, principal)
      return answer
    },
  })

  function principalOf (params: URLSearchParams): string {
    const family = familyOf(params.get('refresh_token') ?? '')
    return families.get(family) ?? params.get('client_id') ?? 'unknown'
  }

  const self: FailingIssuer = {
    issuer,
    secrets,
    failing: false,
    outage: false,
    async login (principal) {
      const tokens = await issuer.login(principal)
      families.set(familyOf(tokens.refresh_token), principal)
      const [oldest] = families.keys()
      if (families.size > 5_000) families.delete(oldest as string)
      return tokens
    },
  }
  return self
}

function familyOf (refreshToken: string): string {
  return /^rt_([\w-]+)\./.exec(refreshToken)?.[1] ?? ''
}

async function fail (fault: IssuerFault, next: () => Promise<TokenAnswer>): Promise<TokenAnswer | 'disconnect'> {
  switch (fault) {
    case 'issuer_503': return { status: 503, headers: { 'Retry-After': '1' }, body: '' }
    case 'issuer_429': return { status: 429, headers: { 'Retry-After': '1' }, body: { error: 'slow_down' } }
    case 'issuer_garbage': return { status: 200, body: '<html>Under maintenance</html>' }
    case 'issuer_reset': return 'disconnect'
    case 'issuer_dropped':
      await next()
      return 'disconnect'
    case 'issuer_hang':
      await sleep(15_000, undefined, { ref: false })
      return 'disconnect'
    default: return { status: 500, body: { error: 'server_error' } }
  }
}
