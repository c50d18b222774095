import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK, type JWTHeaderParameters, type JWTPayload } from 'jose'
import type { Test } from 'tap'

/** What a path of the issuer answers: JSON with 200, or as a test wants it. */
export type IssuerAnswer = object | { readonly status: number, readonly headers?: Record<string, string>, readonly text?: string } | 'hang' | 'disconnect'

export interface SigningKey { readonly kid: string, readonly alg: string, readonly privateKey: CryptoKey, readonly jwk: JWK }

export interface SignOptions {
  readonly header?: Partial<JWTHeaderParameters>
  /** The issuer's newest unless given. */
  readonly key?: SigningKey
}

export interface JwtIssuer {
  readonly url: string
  readonly jwksUri: string
  /** Paths asked for so far, in order. */
  readonly asked: string[]
  /** What it publishes; a test may change it. */
  readonly keys: JWK[]
  /** In place of its own answers, by path. */
  readonly instead: Map<string, IssuerAnswer>
  /** Makes a new key and publishes it; tokens are signed with it from now on. */
  rotate (alg?: string, kid?: string): Promise<SigningKey>
  /** A JWT for `mcp-valet` that is good for five minutes, with claims of one's own over that; undefined leaves one out. */
  sign (claims?: JWTPayload, options?: SignOptions): Promise<string>
  /** Requests for the key set. */
  readonly fetches: number
  stop (): Promise<void>
  start (): Promise<void>
}

/** A key pair that nobody has seen before. */
export async function signingKey (alg = 'ES256', kid = `key-${Math.random().toString(36).slice(2)}`): Promise<SigningKey> {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true })
  return { kid, alg, privateKey, jwk: { ...await exportJWK(publicKey), kid, alg, use: 'sig' } }
}

/** A real issuer of JWTs with metadata and a key set over HTTP, on loopback; it ends with the test. */
export async function startJwtIssuer (t: Test, options: { alg?: string, now?: () => number, path?: string } = {}): Promise<JwtIssuer> {
  const { alg, now = Date.now, path = '' } = options
  const first = await signingKey(alg)
  const keys: JWK[] = [first.jwk]
  const asked: string[] = []
  const instead = new Map<string, IssuerAnswer>()
  let newest = first

  const server = createServer((request, response) => {
    const target = request.url as string
    asked.push(target)
    const answer = instead.get(target) ?? own(target)
    if (answer === 'hang') return
    if (answer === 'disconnect') return response.destroy()
    const told = 'status' in answer && typeof answer.status === 'number'
    const { status, headers, text } = told ? answer as { status: number, headers?: Record<string, string>, text?: string } : { status: 200, headers: {}, text: JSON.stringify(answer) }
    response.writeHead(status, { connection: 'close', 'content-type': 'application/json', ...headers })
    response.end(text ?? '')
  })
  const listen = async (port: number): Promise<void> => await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve))
  await listen(0)
  const { port } = server.address() as AddressInfo
  const origin = `http://127.0.0.1:${port}`
  const url = origin + path
  const jwksUri = `${origin}/jwks`
  const stop = async (): Promise<void> => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
  t.teardown(stop)

  function own (target: string): IssuerAnswer {
    if (target === '/jwks') return { keys }
    if (target === `/.well-known/oauth-authorization-server${path}`) return { issuer: url, jwks_uri: jwksUri }
    return { status: 404 }
  }

  return {
    url,
    jwksUri,
    asked,
    keys,
    instead,
    async rotate (alg, kid) {
      newest = await signingKey(alg, kid)
      keys.push(newest.jwk)
      return newest
    },
    async sign (claims = {}, { header = {}, key = newest } = {}) {
      const iat = Math.floor(now() / 1000)
      const all = { iss: url, aud: 'mcp-valet', sub: 'alice', iat, exp: iat + 300, jti: Math.random().toString(36), ...claims }
      const kept = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined))
      const named = Object.fromEntries(Object.entries({ alg: key.alg, kid: key.kid, ...header }).filter(([, value]) => value !== undefined))
      return await new SignJWT(kept).setProtectedHeader(named as JWTHeaderParameters).sign(key.privateKey, { crit: { 'urn:x': true } })
    },
    get fetches () { return asked.filter((target) => target === '/jwks').length },
    stop,
    start: async () => await listen(port),
  }
}

/** A JWT put together by hand, for what no library would make. */
export function compact (header: object, payload: object | string, signature = ''): string {
  const part = (value: object | string): string => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')
  return `${part(header)}.${part(payload)}.${signature}`
}
