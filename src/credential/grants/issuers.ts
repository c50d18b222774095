import * as oauth from 'oauth4webapi'
import type { Clock } from '../../clock.js'
import { metadataPlaces } from '../../config/url.js'
import { GrantError } from './grant.js'
import { askTokenEndpoint } from './token-endpoint.js'

/** Milliseconds for which what one credential was told serves the next; long enough for a start with thousands of them. */
const MAX_AGE = 10 * 60_000

interface Told { readonly server: Promise<oauth.AuthorizationServer>, readonly at: number }

/** The metadata of issuers (RFC 8414), for all credentials of a process: those that need it together ask for it once. */
export class Issuers {
  readonly #clock: Clock
  /** By issuer. Times are monotonic milliseconds. */
  readonly #told = new Map<string, Told>()

  constructor (clock: Clock) {
    this.#clock = clock
  }

  /**
   * The metadata's `issuer` is the one that was asked for, to the letter (RFC 8414 §3.3). A failure is told to those who
   * wait for it, and whoever comes next asks again.
   * @returns rejects with a GrantError
   */
  metadataOf (issuer: URL): Promise<oauth.AuthorizationServer> {
    const at = this.#clock.elapsed()
    for (const [href, told] of this.#told) if (at - told.at >= MAX_AGE) this.#told.delete(href)
    const there = this.#told.get(issuer.href)
    if (there !== undefined) return there.server
    const server = discover(issuer, this.#clock)
    this.#told.set(issuer.href, { server, at })
    server.catch(() => this.forget(issuer, server))
    return server
  }

  /** What `metadataOf` gave has proved wrong. Others may have been told something newer since, which stays. */
  forget ({ href }: URL, server: Promise<oauth.AuthorizationServer>): void {
    if (this.#told.get(href)?.server === server) this.#told.delete(href)
  }
}

async function discover (issuer: URL, clock: Clock): Promise<oauth.AuthorizationServer> {
  const failures: Array<{ readonly error: unknown, readonly answered: boolean }> = []
  for (const place of metadataPlaces(issuer)) {
    let answered = false
    try {
      // The library knows some of the places only, but what to send to each.
      const response = await oauth.discoveryRequest(issuer, { [oauth.customFetch]: fetchMetadata(place, clock), [oauth.allowInsecureRequests]: true })
      answered = true
      const server = await oauth.processDiscoveryResponse(issuer, response)
      const error = unfit(issuer, server)
      if (error === undefined) return server
      failures.push({ error, answered })
    } catch (error) {
      failures.push({ error, answered })
    }
  }
  // An issuer that publishes in one place only has nothing in the others, which explains nothing.
  const failure = (failures.find(({ error }) => namesAnother(error)) ?? failures.findLast(({ answered }) => answered) ?? failures.at(-1))?.error
  const told = failure instanceof GrantError ? failure : undefined
  const reason = told?.reason ?? (namesAnother(failure) ? 'its metadata names another issuer: name the issuer in the config as it names itself, to the letter' : 'its metadata is not what RFC 8414 asks for: check the issuer\'s URL, or name its token_endpoint instead')
  throw new GrantError('unavailable', `the issuer ${issuer.origin} could not be discovered: ${reason}`, { retryAfter: told?.retryAfter })
}

function namesAnother (failure: unknown): boolean {
  return failure instanceof oauth.OperationProcessingError && failure.code === oauth.JSON_ATTRIBUTE_COMPARISON
}

function fetchMetadata (place: string, clock: Clock) {
  return async (_url: string, options: object): Promise<Response> => {
    return Response.json(await askTokenEndpoint(place, options, { now: () => clock.now(), whom: 'its metadata endpoint' }))
  }
}

/** Metadata may send the grant to another host, as large issuers do, but never from https down to http. */
function unfit (issuer: URL, server: oauth.AuthorizationServer): GrantError | undefined {
  if (server.token_endpoint === undefined || !isHttpUrl(server.token_endpoint)) return new GrantError('unavailable', 'its metadata names no token_endpoint')
  if (issuer.protocol === 'https:' && !server.token_endpoint.startsWith('https:')) return new GrantError('unavailable', 'its metadata names a token_endpoint without TLS')
  return undefined
}

function isHttpUrl (text: string): boolean {
  return /^https?:\/\//i.test(text) && URL.canParse(text)
}
