import { randomBytes } from 'node:crypto'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'

export interface TokenRequest {
  readonly method: string
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: string
  /** The body as a form. */
  readonly form: URLSearchParams
}

export interface TokenReply {
  readonly status?: number
  readonly headers?: Record<string, string>
  /** An object is sent as JSON. */
  readonly body?: object | string
}

export type TokenAnswer = TokenReply | 'disconnect' | 'hang'

export interface TokenServer {
  readonly origin: string
  readonly endpoint: string
  /** Every request so far, in order. */
  readonly requests: TokenRequest[]
  /** Resolves when this many have arrived. */
  arrived (count: number): Promise<void>
  /** Refuses connections from now on. */
  stop (): Promise<void>
  /** Accepts them again, on the same port. */
  start (): Promise<void>
}

/** A real HTTP server in the place of a token endpoint, which answers whatever the test says; it is closed when the test ends. */
export async function startTokenServer (t: Test, answer: (request: TokenRequest, nth: number) => TokenAnswer | Promise<TokenAnswer>): Promise<TokenServer> {
  const requests: TokenRequest[] = []
  const waiting = new Set<() => void>()
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString()
      const entry = { method: request.method as string, path: request.url as string, headers: request.headers, body, form: new URLSearchParams(body) }
      const nth = requests.push(entry)
      for (const wake of waiting) wake()
      void Promise.resolve(answer(entry, nth)).then((reply) => {
        if (reply === 'hang') return
        if (reply === 'disconnect') return response.destroy()
        const { status = 200, headers = {}, body = '' } = reply
        response.writeHead(status, { connection: 'close', ...(typeof body === 'object' ? { 'content-type': 'application/json' } : {}), ...headers })
        response.end(typeof body === 'object' ? JSON.stringify(body) : body)
      })
    })
  })
  const listen = async (port: number): Promise<void> => await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve))
  await listen(0)
  const { port } = server.address() as AddressInfo
  const origin = `http://127.0.0.1:${port}`
  const stop = async (): Promise<void> => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
  t.teardown(stop)
  return {
    origin,
    endpoint: `${origin}/token`,
    requests,
    async arrived (count) {
      while (requests.length < count) {
        await new Promise<void>((resolve) => {
          const wake = (): void => { waiting.delete(wake); resolve() }
          waiting.add(wake)
        })
      }
    },
    stop,
    start: async () => await listen(port),
  }
}

/** A token that nobody has seen before. */
export function mint (kind = 'at'): string {
  return `${kind}_${randomBytes(18).toString('base64url')}`
}

export interface OpaqueIssuer extends TokenServer {
  /** The refresh token to put into the config. */
  readonly seed: string
  /** Access tokens handed out, in order. */
  readonly issued: string[]
  /** The refresh token that is good now. */
  readonly refresh: string
  /** Whether this is the newest access token. */
  accepts (token: string): boolean
  /** A refresh token was used twice. */
  readonly reused: boolean
}

export interface OpaqueOptions {
  /** Members over, or in place of, the usual answer; `undefined` leaves one out. */
  readonly answer?: object
  /** Whether each refresh gives a new refresh token and ends the one before. */
  readonly rotate?: boolean
  /** Seconds; 3600 unless given. */
  readonly expiresIn?: number
  /** What to answer instead; undefined lets the issuer answer. */
  readonly instead?: (nth: number, request: TokenRequest) => TokenAnswer | undefined | Promise<TokenAnswer | undefined>
}

/** An issuer of opaque tokens with refresh tokens that rotate and end when one is used twice. */
export async function startOpaqueIssuer (t: Test, options: OpaqueOptions = {}): Promise<OpaqueIssuer> {
  const { rotate = true, expiresIn = 3600 } = options
  const issued: string[] = []
  const seed = mint('rt')
  let refresh = seed
  let reused = false
  const server = await startTokenServer(t, async (request, nth) => {
    const other = await options.instead?.(nth, request)
    if (other !== undefined) return other
    if (request.form.get('grant_type') === 'refresh_token') {
      if (reused || request.form.get('refresh_token') !== refresh) {
        reused = true
        return { status: 400, body: { error: 'invalid_grant' } }
      }
      if (rotate) refresh = mint('rt')
    }
    const token = mint()
    issued.push(token)
    return { body: { access_token: token, token_type: 'Bearer', expires_in: expiresIn, ...(rotate ? { refresh_token: refresh } : {}), ...options.answer } }
  })
  return {
    ...server,
    seed,
    issued,
    get refresh () { return refresh },
    get reused () { return reused },
    accepts: (token) => token === issued.at(-1),
  }
}

/** A promise and the function that resolves it. */
export function gate<T = void> (): { readonly opened: Promise<T>, open (value: T): void } {
  let open!: (value: T) => void
  const opened = new Promise<T>((resolve) => { open = resolve })
  return { opened, open }
}

/** The config of one upstream `tools` and one principal `alice`; `credential` is its YAML in flow style. */
export function oneUpstream (url: string, credential: string, upstream = ''): string {
  return `
upstreams:
  tools:
    url: ${url}/mcp
    ${upstream}
principals:
  alice: { credentials: { tools: ${credential} } }
`
}

/** A `refresh_token` credential whose first token is in the variable RT. */
export function byRefreshToken (endpoint: string, more = ''): string {
  return `{ type: refresh_token, token_endpoint: "${endpoint}", client_id: agents, refresh_token: { env: RT }${more === '' ? '' : `, ${more}`} }`
}

/** The bearer token of a request that an upstream saw. */
export function bearerOf (seen: { readonly headers: IncomingHttpHeaders } | undefined): string | undefined {
  return /^Bearer (.+)$/.exec(seen?.headers.authorization ?? '')?.[1]
}
