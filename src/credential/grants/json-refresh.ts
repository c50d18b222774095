import type { Clock } from '../../clock.js'
import type { JsonRefreshConfig } from '../../config/config.js'
import { expiryOfIssued } from '../lifetime.js'
import { accessToken, GrantError, refreshToken, rotatedIn, seedToken, type Grant, type Issued } from './grant.js'
import { digestOf, fill, fillText } from './template.js'
import { askTokenEndpoint } from './token-endpoint.js'

/** A product's own refresh endpoint: JSON in, JSON out, no OAuth. Where things are in the answer is the config's to say. */
export function jsonRefreshGrant (config: JsonRefreshConfig, clock: Clock): Grant {
  return {
    type: config.type,
    kept: true,
    terms: JSON.stringify([config.type, config.url.href, ...digestOf([config.method, config.headers, config.body, config.response])]),
    asks: config.url.origin,
    async seed () {
      return {
        accessToken: await seedToken(config.accessToken, accessToken),
        refreshToken: await seedToken(config.refreshToken, refreshToken),
        ...(config.accessTokenExpiresAt === undefined ? {} : { expiresAt: config.accessTokenExpiresAt }),
      }
    },
    async exchange (held, mayAsk) {
      // Its names are without case: a config's own Content-Type must not come beside ours.
      const headers = new Headers({ accept: 'application/json' })
      if (config.body !== undefined) headers.set('content-type', 'application/json')
      for (const [name, value] of config.headers) setHeader(headers, name, await fillText(value, held))
      const body = config.body === undefined ? null : JSON.stringify(await fill(config.body, held))
      mayAsk?.()
      const requestedAt = clock.now()
      const answer = await askTokenEndpoint(config.url.href, { method: config.method, headers: Object.fromEntries(headers), body }, { now: () => clock.now(), whom: 'the refresh endpoint' })
      return takeIn(answer, config.response, requestedAt)
    },
  }
}

/** @throws {GrantError} that names the header, and nothing of its value */
function setHeader (headers: Headers, name: string, value: string): void {
  try {
    headers.set(name, value)
  } catch {
    throw new GrantError('unavailable', `the value of the header ${name} cannot be sent: it holds characters beyond Latin-1, or control characters`)
  }
}

function takeIn (body: unknown, where: JsonRefreshConfig['response'], requestedAt: number): Issued {
  const next = where.refreshToken === undefined ? undefined : pointed(body, where.refreshToken)
  try {
    const token = accessToken(pointed(body, where.accessToken), `the refresh endpoint's answer, at ${where.accessToken},`)
    return {
      accessToken: token,
      refreshToken: next === undefined || next === null || next === '' ? undefined : refreshToken(next, 'the refresh endpoint'),
      obtainedAt: requestedAt,
      expiresAt: expiryOfIssued(token.reveal(), seconds(where.expiresIn === undefined ? undefined : pointed(body, where.expiresIn)), requestedAt),
    }
  } catch (error) {
    const { kind, reason } = error as GrantError
    throw new GrantError(kind, reason, { rotated: rotatedIn(next) })
  }
}

function seconds (value: unknown): number | undefined {
  return typeof value === 'number' || (typeof value === 'string' && value.trim() !== '') ? Number(value) : undefined
}

/** The value at a JSON Pointer (RFC 6901), undefined where there is none. */
function pointed (document: unknown, pointer: string): unknown {
  let value = document
  for (const part of pointer.split('/').slice(1)) {
    const key = part.replaceAll('~1', '/').replaceAll('~0', '~')
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined
    value = (value as Record<string, unknown>)[key]
  }
  return value
}
