import * as oauth from 'oauth4webapi'
import type { UpstreamConfig } from '../config/config.js'
import { readable } from '../config/raw.js'
import { readScope } from '../config/values.js'
import { connectOptions } from '../upstream/tls.js'
import { isLocalPlain, isPlainText, isPrivateWay, issuerIn } from './address.js'
import { ask, asFetch, type Asking } from './ask.js'
import { LoginError, shown } from './problem.js'

/** What an upstream says about who may call it (RFC 9728), checked. */
export interface ProtectedResource {
  /** Its resource identifier, as it spells it. */
  readonly resource: string
  /** Its authorization servers, the one that it names first in front. */
  readonly issuers: readonly [URL, ...URL[]]
  /** What to ask for: what the challenge says, or else all that the metadata lists. */
  readonly scope: string | undefined
}

/** A request that any MCP server may refuse, and that changes nothing at one which does not. */
const PROBE = {
  method: 'POST',
  headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
  body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping' }),
}

const LONGEST_SCOPE = 4_096

const NAME_IT = 'put issuer into the upstream\'s credential in the config, or name it with --issuer'

/**
 * Asks an upstream who lets its callers in: by a request without a token, whose challenge names the metadata (RFC 9728
 * §5.1), or else at the well-known places (§3.1), the one for the upstream's path first.
 * @param resource what the config calls the upstream in tokens: its URL, something else, or nothing
 * @throws {LoginError} where it does not say, or says it of another resource
 */
export async function discoverResource (upstream: UpstreamConfig, resource: string | undefined, stop: AbortSignal): Promise<ProtectedResource> {
  const { name, url } = upstream
  if (!isPrivateWay(url)) {
    throw new LoginError(`the upstream ${name} is reached by plain http, where anybody on the way could name an authorization server of their own: ${NAME_IT}`)
  }
  const tls = await connectOptions(upstream.tls, upstream.timeouts.connectMs) as NonNullable<Asking['tls']>
  const asking: Asking = { whom: `the upstream ${name}`, stop, tls }
  const challenge = await challengeOf(await ask(url, PROBE, { ...asking, headOnly: true }))
  const described = await matching(await metadata(upstream, challenge?.resource_metadata, asking), resource, upstream)
  return {
    resource: described.resource,
    issuers: issuersIn(described, upstream),
    scope: scopeIn(challenge?.scope) ?? scopeIn(listed(described.scopes_supported).join(' ')),
  }
}

/** A scope that fits into an address; of one that does not the issuer would see a part at best. */
function scopeIn (text: string | undefined): string | undefined {
  return text !== undefined && text.length <= LONGEST_SCOPE ? readable(text, readScope) : undefined
}

/** The parameters of a 401's Bearer challenge (RFC 6750 §3). The library reads one only on its way past an answer that is an error to it. */
async function challengeOf (answer: Response): Promise<oauth.WWWAuthenticateChallengeParameters | undefined> {
  if (answer.status !== 401) return undefined
  const read = await oauth.processRevocationResponse(answer).catch((error: unknown) => error)
  return read instanceof oauth.WWWAuthenticateChallengeError ? read.cause.find(({ scheme }) => scheme === 'bearer')?.parameters : undefined
}

async function metadata (upstream: UpstreamConfig, named: string | undefined, asking: Asking): Promise<Response> {
  if (named !== undefined) return found(await ask(ownAddress(named, upstream), {}, asking), upstream)
  const places = upstream.url.pathname === '/' ? [upstream.url] : [upstream.url, new URL(upstream.url.origin)]
  for (const place of places) {
    const answer = await oauth.resourceDiscoveryRequest(place, { [oauth.customFetch]: asFetch(asking), [oauth.allowInsecureRequests]: true })
    if (answer.status < 400 || answer.status >= 500) return found(answer, upstream)
  }
  throw new LoginError(`the upstream ${upstream.name} does not say which authorization server lets its callers in (it has no protected-resource metadata, RFC 9728): ${NAME_IT}`)
}

/** Metadata elsewhere could be anybody's, and would have this machine call wherever an upstream likes. */
function ownAddress (named: string, { name, url }: UpstreamConfig): URL {
  const address = URL.canParse(named) ? new URL(named) : undefined
  if (address?.origin === url.origin && address.username === '' && address.password === '') return address
  throw new LoginError(`the upstream ${name} says that its metadata is at another place than itself, where it is not looked for: ${NAME_IT}`)
}

function found (answer: Response, { name }: UpstreamConfig): Response {
  if (answer.status === 200) return answer
  const hint = answer.status >= 300 && answer.status < 400 ? '; a redirect is not followed there' : ''
  throw new LoginError(`the upstream ${name} answered HTTP ${answer.status} where its metadata should be${hint}: ${NAME_IT}`)
}

/** The metadata, if it is of this upstream: otherwise tokens would be asked for that are good for somebody else (RFC 9728 §3.3). */
async function matching (answer: Response, resource: string | undefined, { name, url }: UpstreamConfig): Promise<oauth.ResourceServer> {
  const body: unknown = await answer.json().catch(() => undefined)
  for (const expected of [url, ...(resource === undefined ? [] : [new URL(resource)])]) {
    const described = await oauth.processResourceDiscoveryResponse(expected, Response.json(body ?? null)).catch(() => undefined)
    if (described !== undefined && isPlainText(described.resource)) return described
  }
  const other = isObject(body) && typeof body.resource === 'string' && URL.canParse(body.resource) ? new URL(body.resource) : undefined
  if (other === undefined) throw new LoginError(`the upstream ${name} answered with something that is no protected-resource metadata (RFC 9728): ${NAME_IT}`)
  // Often it is the whole host that tokens are for; whether everything on it may be trusted with them is not ours to say.
  const way = other.origin === url.origin ? `: if tokens for ${shown(other)} are meant for this upstream, put resource: ${shown(other)} into its credential in the config` : ''
  throw new LoginError(`the upstream ${name} answered with the metadata of another resource than ${shown(url)}${way}`)
}

function issuersIn (described: oauth.ResourceServer, { name, url }: UpstreamConfig): [URL, ...URL[]] {
  const [first, ...more] = listed(described.authorization_servers).flatMap((text) => issuerIn(text) ?? [])
  if (first === undefined) throw new LoginError(`the metadata of the upstream ${name} names no authorization server: ${NAME_IT}`)
  // What is on this machine is no business of an upstream elsewhere.
  for (const issuer of [first, ...more]) {
    if (issuer.protocol === 'https:' || (isLocalPlain(issuer) && isLocalPlain(url))) continue
    throw new LoginError(`the metadata of the upstream ${name} names an authorization server without TLS, ${shown(issuer)}: ${NAME_IT}, if it is to be trusted`)
  }
  return [first, ...more]
}

function listed (value: unknown): string[] {
  return Array.isArray(value) ? value.filter((member): member is string => typeof member === 'string') : []
}

function isObject (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
