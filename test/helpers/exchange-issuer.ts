import { randomUUID } from 'node:crypto'
import { createLocalJWKSet, decodeJwt, exportJWK, exportPKCS8, generateKeyPair, jwtVerify, SignJWT, type JWK, type JWTPayload } from 'jose'
import type { Test } from 'tap'
import type { Clock } from '../../src/clock.js'
import { startTokenServer, type TokenAnswer, type TokenRequest, type TokenServer } from './tokens.js'

const TYPE = 'urn:ietf:params:oauth:token-type:'
const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

export interface ExchangeClient {
  readonly secret?: string
  /** Public, of whatever it signs client assertions with. */
  readonly keys?: readonly JWK[]
}

export interface ExchangeIssuerOptions {
  readonly clock: Clock
  readonly clients?: Readonly<Record<string, ExchangeClient>>
  /** Who may sign assertions for others: issuer → public keys. */
  readonly trusted?: Readonly<Record<string, readonly JWK[]>>
  /** What an assertion must be for; the issuer identifier unless given. */
  readonly audience?: (server: TokenServer) => string
  /** Members over the answer of a grant that is good; `undefined` leaves one out. */
  readonly answer?: object
  /** What to answer instead; undefined lets the issuer answer. */
  readonly instead?: (request: TokenRequest, nth: number) => TokenAnswer | undefined
  /** Seconds; 600 unless given. */
  readonly lifetime?: number
}

export interface ExchangeIssuer extends TokenServer {
  /** Token requests that were granted. */
  readonly granted: URLSearchParams[]
  /** What it said no to, in its own words, for the test's eyes. */
  readonly refused: string[]
  /** A token of this issuer for somebody. */
  login (subject: string, claims?: JWTPayload): Promise<string>
  /** The claims of a token of this issuer, for this audience; rejects any other. */
  verify (token: string, audience: string): Promise<JWTPayload>
}

/**
 * An issuer of JWTs that knows clients by secret or key and grants client_credentials, token exchange (RFC 8693) and
 * assertions (RFC 7523). It checks what it is sent with jose and to the letter: signature, issuer, subject, the one
 * audience, expiry, and that neither a parameter nor a jti comes twice.
 */
export async function startExchangeIssuer (t: Test, options: ExchangeIssuerOptions): Promise<ExchangeIssuer> {
  const { clock, clients = {}, trusted = {}, lifetime = 600 } = options
  const { privateKey, publicKey } = await generateKeyPair('ES256')
  const spent = new Set<string>()
  const granted: URLSearchParams[] = []
  const refused: string[] = []
  const server = await startTokenServer(t, async (request, nth): Promise<TokenAnswer> => {
    if (request.path.startsWith('/.well-known/')) return { body: { issuer: server.origin, token_endpoint: server.endpoint } }
    const other = options.instead?.(request, nth)
    if (other !== undefined) return other
    try {
      const body = await grant(request)
      granted.push(request.form)
      return { body }
    } catch (error) {
      const refusal = error instanceof Refusal ? error : new Refusal('invalid_grant', (error as Error).message)
      refused.push(refusal.message)
      return { status: refusal.code === 'invalid_client' ? 401 : 400, body: { error: refusal.code, error_description: refusal.message } }
    }
  })
  const audience = (): string => options.audience?.(server) ?? server.origin

  async function grant (request: TokenRequest): Promise<object> {
    const { form, headers } = request
    if (headers['content-type'] !== 'application/x-www-form-urlencoded;charset=UTF-8') throw new Refusal('invalid_request', 'not a form')
    const names = [...form.keys()]
    if (new Set(names).size !== names.length) throw new Refusal('invalid_request', `a parameter is there twice: ${names.join()}`)
    const client = await authenticate(request)
    const common = { token_type: 'Bearer', expires_in: lifetime }
    const target = form.get('audience') ?? form.get('resource') ?? ''
    const claims = { ...(client === undefined ? {} : { client_id: client }), ...(form.has('scope') ? { scope: form.get('scope') } : {}) }
    switch (form.get('grant_type')) {
      case 'client_credentials':
        if (client === undefined) throw new Refusal('invalid_client', 'no client')
        return { access_token: await token({ ...claims, sub: client, aud: target }), ...common, ...options.answer }
      case 'urn:ietf:params:oauth:grant-type:token-exchange': {
        const subject = await own(form, 'subject_token')
        const actor = form.has('actor_token') ? await own(form, 'actor_token') : undefined
        const act = actor === undefined ? {} : { act: { sub: actor.sub } }
        const issued = form.get('requested_token_type') ?? `${TYPE}access_token`
        return { access_token: await token({ ...claims, sub: subject.sub as string, aud: target, ...act }), issued_token_type: issued, ...common, ...options.answer }
      }
      case 'urn:ietf:params:oauth:grant-type:jwt-bearer': {
        const { sub } = await assertion(form.get('assertion') ?? '', trusted[decodeJwt(form.get('assertion') ?? '').iss ?? ''] ?? [])
        return { access_token: await token({ ...claims, sub: sub as string, aud: target }), ...common, ...options.answer }
      }
      default:
        throw new Refusal('unsupported_grant_type', String(form.get('grant_type')))
    }
  }

  async function authenticate ({ form, headers }: TokenRequest): Promise<string | undefined> {
    const basic = /^Basic (.+)$/.exec(headers.authorization ?? '')?.[1]
    const [id, secret] = basic === undefined ? [form.get('client_id'), form.get('client_secret')] : Buffer.from(basic, 'base64').toString().split(':').map(decodeURIComponent)
    const client = id === null || id === undefined ? undefined : clients[id]
    if (id === null || id === undefined) {
      if (form.has('client_assertion') || form.has('client_secret')) throw new Refusal('invalid_client', 'no client_id')
      return undefined
    }
    if (client === undefined) throw new Refusal('invalid_client', 'an unknown client')
    if (client.secret !== secret && client.secret !== undefined) throw new Refusal('invalid_client', 'a wrong secret')
    if (client.keys !== undefined) {
      if (form.get('client_assertion_type') !== ASSERTION_TYPE) throw new Refusal('invalid_client', 'no client assertion')
      const claims = await assertion(form.get('client_assertion') ?? '', client.keys).catch((error: unknown) => { throw new Refusal('invalid_client', (error as Error).message) })
      if (claims.iss !== id || claims.sub !== id) throw new Refusal('invalid_client', 'an assertion of somebody else')
      if ((claims.exp as number) - (claims.iat as number) > 60) throw new Refusal('invalid_client', 'an assertion that lives too long')
    }
    return id
  }

  /** RFC 7523 §3, with one audience. */
  async function assertion (jwt: string, keys: readonly JWK[]): Promise<JWTPayload> {
    const { payload } = await jwtVerify(jwt, createLocalJWKSet({ keys: [...keys] }), { currentDate: new Date(clock.now()), requiredClaims: ['iss', 'exp', 'iat', 'jti'] })
    if (payload.aud !== audience()) throw new Error(`for ${JSON.stringify(payload.aud)} and not for ${audience()}`)
    if (payload.sub === undefined) throw new Error('without a subject')
    if (spent.has(payload.jti as string)) throw new Error('used twice')
    spent.add(payload.jti as string)
    return payload
  }

  async function own (form: URLSearchParams, name: 'subject_token' | 'actor_token'): Promise<JWTPayload> {
    if (![`${TYPE}access_token`, `${TYPE}jwt`].includes(form.get(`${name}_type`) ?? '')) throw new Refusal('invalid_request', `a ${name} of an unknown type`)
    const verified = await jwtVerify(form.get(name) ?? '', publicKey, { issuer: server.origin, currentDate: new Date(clock.now()) }).catch((error: unknown) => { throw new Refusal('invalid_request', (error as Error).message) })
    return verified.payload
  }

  async function token (claims: JWTPayload): Promise<string> {
    const iat = Math.floor(clock.now() / 1000)
    return await new SignJWT({ ...claims, iss: server.origin, iat, exp: iat + lifetime, jti: randomUUID() }).setProtectedHeader({ alg: 'ES256', typ: 'at+jwt' }).sign(privateKey)
  }

  return {
    ...server,
    granted,
    refused,
    login: async (subject, claims = {}) => await token({ sub: subject, aud: 'mcp-valet', ...claims }),
    verify: async (jwt, audience) => (await jwtVerify(jwt, publicKey, { issuer: server.origin, audience, currentDate: new Date(clock.now()) })).payload,
  }
}

class Refusal extends Error {
  readonly code: string

  constructor (code: string, message: string) {
    super(message)
    this.code = code
  }
}

/** A private key as PEM and the public half as a JWK. */
export async function keyPair (alg: string, kid?: string): Promise<{ pem: string, jwk: JWK, privateJwk: JWK }> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
  const more = { alg, ...(kid === undefined ? {} : { kid }) }
  return { pem: await exportPKCS8(privateKey), jwk: { ...await exportJWK(publicKey), ...more }, privateJwk: { ...await exportJWK(privateKey), ...more } }
}
