import { generateRandomCodeVerifier, generateRandomState } from 'oauth4webapi'
import type { Clock } from '../clock.js'
import type { GivenCredential } from '../control.js'
import { isPrivateWay } from './address.js'
import { cancelled } from './ask.js'
import { authorizationUrl, checkAnswer, type Attempt } from './authorize.js'
import { loginClient, type LoginClient } from './client.js'
import { givenCredential } from './given.js'
import { discoverIssuer } from './issuer.js'
import type { Plan } from './plan.js'
import { LoginError, shown } from './problem.js'
import { discoverResource, type ProtectedResource } from './protected-resource.js'
import { redeem } from './redeem.js'
import { openRedirect, type Redirect } from './redirect.js'
import { scopeOf, scopeToAsk } from './scope.js'

/** Who sits at the terminal. */
export interface Person {
  tell (line: string): void
  /** @throws {LoginError} where there is nobody to ask */
  agree (question: string): Promise<boolean>
  /** Is to open the address in a browser, which may be on another machine. @param port the one that the browser is sent back to */
  visit (address: URL, port: number): void
}

/** Where the credential is kept from then on. */
export type Save = (principal: string, upstream: string, given: GivenCredential) => Promise<void>

export interface LoginOptions {
  readonly clock: Clock
  readonly person: Person
  readonly save: Save
  readonly stop: AbortSignal
  /** Of the listener that the browser is sent back to; 0 picks a free one. */
  readonly redirectPort: number
  /** For the person. Milliseconds. */
  readonly timeoutMs: number
}

/** What came of it; no secret. */
export interface LoggedIn {
  readonly issuer: string
  readonly clientId: string
  readonly clientFrom: LoginClient['from']
  readonly scope: string | undefined
  readonly resource: string | undefined
  /** Of the access token, milliseconds since the epoch. */
  readonly expiresAt: number | undefined
  readonly refreshToken: boolean
  /** When the secret ends that the client was registered with, milliseconds since the epoch. */
  readonly secretExpiresAt: number | undefined
}

/**
 * Logs a person in at the authorization server of an upstream: authorization code with PKCE (OAuth 2.1 §4.1, RFC 7636), a
 * loopback redirect (RFC 8252 §7.3), and keeps what comes of it.
 *
 * An address that an answer names is used only after the person was shown it and agreed.
 * @throws {LoginError}
 */
export async function login (plan: Plan, options: LoginOptions): Promise<LoggedIn> {
  const { person, stop } = options
  const described = await describedResource(plan, person, stop)
  const issuer = plan.issuer ?? await agreedIssuer(plan, described as ProtectedResource, person)
  if (!isPrivateWay(issuer)) person.tell(`warning: ${shown(issuer)} is reached by plain http: whoever is on the way can log in as you.`)
  const known = await discoverIssuer(issuer, stop)
  if (plan.tokenEndpoint !== undefined && plan.tokenEndpoint.href !== known.tokenEndpoint.href) {
    throw new LoginError(`the config has another token_endpoint than the issuer ${shown(issuer)}: put issuer in its place`)
  }
  const state = generateRandomState()
  const redirect = await openRedirect({
    port: options.redirectPort, state, onStray: () => person.tell('An answer came that does not belong to this login, and was ignored.'),
  })
  try {
    const wanted = scopeToAsk(plan.scope, described?.scope, known.server)
    const client = await loginClient(plan.client, issuer, known, { redirectUri: redirect.uri, scope: wanted }, stop)
    const { scope, dropped } = scopeOf(wanted, plan.scope, client.registered?.scope)
    if (dropped.length > 0) person.tell(`Note: the issuer registered the client without the scope ${dropped.join(' ')}, so that is not asked for.`)
    const resource = spelt(plan.resource, described)
    const attempt: Attempt = { issuer, known, client, redirectUri: redirect.uri, scope, resource, state, verifier: generateRandomCodeVerifier() }
    tellFound(attempt, person)
    return await visit(plan, attempt, redirect, options)
  } finally {
    await redirect.close()
  }
}

/** What the upstream says; without it where a person has named the issuer, and then it is asked for the scope at most. */
async function describedResource (plan: Plan, person: Person, stop: AbortSignal): Promise<ProtectedResource | undefined> {
  if (plan.issuer !== undefined && plan.scope !== undefined) return undefined
  try {
    const described = await discoverResource(plan.upstream, plan.resource, stop)
    if (plan.issuer !== undefined && !described.issuers.some(({ href }) => href === plan.issuer?.href)) {
      person.tell(`Note: the upstream ${plan.upstream.name} names other authorization servers, and may refuse tokens of ${shown(plan.issuer)}.`)
    }
    return described
  } catch (error) {
    if (plan.issuer === undefined || stop.aborted || !(error instanceof LoginError)) throw error
    person.tell('Note: the upstream does not say which scopes it wants; the issuer decides, unless --scope does.')
    return undefined
  }
}

async function agreedIssuer ({ upstream, principal }: Plan, { issuers: [issuer, ...others] }: ProtectedResource, person: Person): Promise<URL> {
  person.tell(`The upstream ${upstream.name} (${shown(upstream.url)}) says that its tokens come from ${shown(issuer)}.`)
  if (others.length > 0) person.tell(`It names ${others.map(shown).slice(0, 10).join(', ')} as well; --issuer chooses.`)
  if (await person.agree(`Log ${principal} in at ${issuer.host}?`)) return issuer
  throw cancelled()
}

function tellFound ({ issuer, known, client, scope, resource }: Attempt, { tell }: Person): void {
  const from = { config: 'from the config', flag: 'from --client-id', metadata_document: 'a client-id metadata document', registration: 'registered just now' }[client.from]
  tell(`Issuer    ${shown(issuer)}`)
  if (known.authorizationEndpoint.origin !== issuer.origin) tell(`          its login page is at ${known.authorizationEndpoint.origin}`)
  if (known.tokenEndpoint.origin !== issuer.origin) tell(`          its tokens come from ${known.tokenEndpoint.origin}`)
  tell(`Client    ${client.id} (${from})`)
  tell(`Scope     ${scope ?? '(what the issuer gives without being asked)'}`)
  tell(`Resource  ${resource ?? '(none is named)'}`)
}

/** From the login page to the saved credential; the browser waits for the end of it. */
async function visit (plan: Plan, attempt: Attempt, redirect: Redirect, { clock, person, save, stop, timeoutMs }: LoginOptions): Promise<LoggedIn> {
  person.visit(await authorizationUrl(attempt, clock, stop), redirect.port)
  try {
    const answer = checkAnswer(attempt, await redirect.answer(clock, timeoutMs, stop))
    const tokens = await redeem(attempt, answer, clock)
    if (stop.aborted) throw cancelled()
    await save(plan.principal, plan.upstream.name, await givenCredential(attempt, tokens, clock.now()))
    await redirect.show('Logged in', 'You can close this window and go back to the terminal.')
    const ends = attempt.client.registered?.secretExpiresAt
    return {
      issuer: attempt.known.server.issuer,
      clientId: attempt.client.id,
      clientFrom: attempt.client.from,
      scope: tokens.scope,
      resource: attempt.resource,
      expiresAt: tokens.issued.expiresAt,
      refreshToken: tokens.issued.refreshToken !== undefined,
      secretExpiresAt: ends === undefined ? undefined : ends * 1000,
    }
  } catch (error) {
    await redirect.show('Not logged in', error instanceof LoginError ? `${error.message}.` : 'The terminal says why.')
    throw error
  }
}

/** The config's resource, as the upstream spells it where that is the same: issuers compare letter by letter. */
function spelt (resource: string | undefined, described: ProtectedResource | undefined): string | undefined {
  return resource !== undefined && described !== undefined && new URL(described.resource).href === new URL(resource).href ? described.resource : resource
}
