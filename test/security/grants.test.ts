import { createPrivateKey } from 'node:crypto'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createLog } from '../../src/telemetry/log.js'
import type { RefreshEvent, ValetEvent } from '../../src/telemetry/events.js'
import { call } from '../helpers/call.js'
import { Canaries } from '../helpers/canary.js'
import { keyPair } from '../helpers/exchange-issuer.js'
import { manualClock } from '../helpers/manual-clock.js'
import { mintToken } from '../helpers/mint.js'
import { startSidecar } from '../helpers/sidecar.js'
import { oneUpstream, startTokenServer, type TokenAnswer, type TokenRequest } from '../helpers/tokens.js'
import { startUpstream } from '../helpers/upstream.js'

const isRefresh = (event: ValetEvent): event is RefreshEvent => event.event === 'refresh'
const nowhere = 'http://127.0.0.1:1'

/** Starts a sidecar for one credential, waits for its first renewal, and gives its event and all that anybody could read of it. */
async function firstRenewal (t: Test, credential: string, env: Record<string, string>, options: { base?: string, realTime?: true } = {}) {
  const lines: string[] = []
  const log = await createLog({ level: 'debug', destination: { write: (line: string) => { lines.push(line) } } })
  const sidecar = await startSidecar(t, oneUpstream(options.base ?? nowhere, credential, 'deadline: 100ms'), { env, onEvent: log, ...(options.realTime === true ? {} : { clock: manualClock() }) })
  const event = await new Promise<RefreshEvent>((resolve) => {
    const look = (): void => { const found = sidecar.events.find(isRefresh); found === undefined ? setTimeout(look, 5) : resolve(found) }
    look()
  })
  const seen = lines.join('') + JSON.stringify(sidecar.events) + await sidecar.metrics()
  return { event, seen, sidecar }
}

/** Every kind of credential that asks a token endpoint with more than a client secret, and what of it must never be seen. */
async function credentials (canaries: Canaries): Promise<{ env: Record<string, string>, of (endpoint: string): Record<string, string> }> {
  const { pem, privateJwk } = await keyPair('ES256')
  const { privateJwk: rsa } = await keyPair('RS256')
  const env = {
    PEM: pem,
    JWK: JSON.stringify(rsa),
    MAC: canaries.add('shared secret', mintToken('a-secret-of-some-length')),
    SECRET: canaries.add('client secret', mintToken('cs')),
    SUBJECT: canaries.add('subject token', mintToken('st')),
    ACTOR: canaries.add('actor token', mintToken('ac')),
    ASSERTION: canaries.add('assertion', mintToken('as')),
  }
  canaries.add('PEM', pem.replaceAll(/-----[A-Z ]+-----|\s/g, ''))
  canaries.add('EC key', privateJwk.d as string)
  for (const part of ['d', 'p', 'q', 'dp', 'dq', 'qi'] as const) canaries.add(`RSA key, ${part}`, rsa[part] as string)
  return {
    env,
    of: (endpoint) => ({
      private_key_jwt: `{ type: client_credentials, token_endpoint: "${endpoint}", client_id: c, client_key: { env: JWK } }`,
      token_exchange: `{ type: token_exchange, token_endpoint: "${endpoint}", client_id: c, client_secret: { env: SECRET }, subject_token: { env: SUBJECT }, actor_token: { env: ACTOR } }`,
      'jwt_bearer by key': `{ type: jwt_bearer, token_endpoint: "${endpoint}", key: { env: PEM }, claims: { iss: i, sub: s } }`,
      'jwt_bearer by assertion': `{ type: jwt_bearer, token_endpoint: "${endpoint}", client_id: c, client_key: { env: PEM }, assertion: { env: ASSERTION } }`,
    }),
  }
}

/** What was sent, so that the endpoint can send it back; the parts that are minted for each request are secrets too. */
function sent (request: TokenRequest, canaries: Canaries): string {
  for (const name of ['client_assertion', 'assertion']) if (request.form.has(name)) canaries.add(name, request.form.get(name) as string)
  return `${request.body} ${String(request.headers.authorization)} ${[...request.form.values()].join(' ')}`
}

const HOSTILE: Array<readonly [what: string, answer: (quoted: string) => TokenAnswer, reason: RegExp]> = [
  ['nonsense that quotes it all', (quoted) => ({ body: quoted }), /with something that is no JSON object$/],
  ['a JSON array', (quoted) => ({ body: [quoted] }), /with something that is no JSON object$/],
  ['an answer without end', (quoted) => ({ body: quoted.repeat(Math.ceil(600_000 / quoted.length)) }), /is larger than 256 KiB$/],
  ['a redirect', (quoted) => ({ status: 307, headers: { location: `/other?${encodeURIComponent(quoted)}`.slice(0, 8_000) } }), /a redirect is never followed/],
  ['an error with HTTP 200', (quoted) => ({ body: { error: 'invalid_client', error_description: quoted, access_token: mintToken() } }), /HTTP 200 with invalid_client: check/],
  ['an error of its own', (quoted) => ({ status: 400, body: { error: quoted, error_uri: quoted } }), /HTTP 400 with an error code of its own$/],
  ['invalid_grant', (quoted) => ({ status: 400, body: { error: 'invalid_grant', error_description: quoted } }), /invalid_grant/],
  ['a token with CR and LF', (quoted) => ({ body: { access_token: `${quoted}\r\nX-Evil: 1`, token_type: 'Bearer' } }), /gave no usable token/],
  ['a token_type that quotes it all', (quoted) => ({ body: { access_token: mintToken(), token_type: quoted } }), /token_type Bearer$/],
  ['an issued_token_type and a lifetime that quote it all', (quoted) => ({ body: { access_token: ` ${quoted}`, issued_token_type: quoted, expires_in: quoted, refresh_token: { quoted } } }), /token/],
  ['a 500 that quotes it all', (quoted) => ({ status: 500, headers: { 'x-why': encodeURIComponent(quoted).slice(0, 4_000), 'retry-after': 'soon' }, body: quoted }), /HTTP 500 with no OAuth error$/],
  ['no answer at all', () => 'disconnect', /cannot be reached \(/],
]

for (const [what, answer, reason] of HOSTILE) {
  t.test(`rows 15, 37, 46: a token endpoint answers with ${what}`, async (t) => {
    const canaries = new Canaries()
    const { env, of } = await credentials(canaries)
    const server = await startTokenServer(t, (request) => answer(sent(request, canaries)))
    for (const [kind, credential] of Object.entries(of(server.endpoint))) {
      const { event, seen } = await firstRenewal(t, credential, env)
      // What would end a grant that a person gave ends nothing here.
      if (kind !== 'private_key_jwt' || what !== 'invalid_grant') t.match(event, { outcome: 'unavailable' }, kind)
      t.match(event.reason, reason, kind)
      t.same(canaries.findIn(seen), [], kind)
      t.notMatch(seen, /Evil/)
    }
    t.ok(server.requests.every(({ path }) => path === '/token'), 'and nobody follows where it leads')
  })
}

t.test('rows 40, 46: metadata that is of no use', async (t) => {
  const canaries = new Canaries()
  const { env } = await credentials(canaries)
  const elsewhere = await startTokenServer(t, () => ({ body: { access_token: mintToken(), token_type: 'Bearer' } }))
  for (const [what, answer] of [
    ['another issuer', (origin: string) => ({ body: { issuer: elsewhere.origin, token_endpoint: `${origin}/token` } })],
    ['no issuer', (origin: string) => ({ body: { token_endpoint: `${origin}/token` } })],
    ['no token endpoint', (origin: string) => ({ body: { issuer: origin } })],
    ['a token endpoint that is no URL', (origin: string) => ({ body: { issuer: origin, token_endpoint: 'token' } })],
    ['a token endpoint without a host', (origin: string) => ({ body: { issuer: origin, token_endpoint: 'http://' } })],
    ['a token endpoint that is no text', (origin: string) => ({ body: { issuer: origin, token_endpoint: 7 } })],
    ['a file for a token endpoint', (origin: string) => ({ body: { issuer: origin, token_endpoint: 'file:///etc/passwd' } })],
    ['a redirect', () => ({ status: 302, headers: { location: `${elsewhere.origin}/.well-known/oauth-authorization-server` } })],
    ['a megabyte', () => ({ body: 'x'.repeat(1024 * 1024) })],
  ] as Array<[string, (origin: string) => TokenAnswer]>) {
    const server = await startTokenServer(t, ({ path }) => path === '/token' ? { body: { access_token: mintToken(), token_type: 'Bearer' } } : answer(server.origin))
    const { event, seen } = await firstRenewal(t, `{ type: client_credentials, issuer: "${server.origin}", client_id: c, client_key: { env: PEM } }`, env)
    t.match(event, { outcome: 'unavailable', reason: /could not be discovered: .*metadata/ }, what)
    t.same(canaries.findIn(seen), [], what)
    t.notOk(server.requests.some(({ path }) => path === '/token'), what)
  }
  t.equal(elsewhere.requests.length, 0)
})

t.test('rows 46, 47: keys that are of no use are told by their place', async (t) => {
  const canaries = new Canaries()
  const { env } = await credentials(canaries)
  const open = join(t.testdir(), 'open.pem')
  writeFileSync(open, env.PEM as string)
  chmodSync(open, 0o644)
  const rsa = createPrivateKey({ key: JSON.parse(env.JWK as string) as never, format: 'jwk' })
  const more = {
    ENCRYPTED: rsa.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-128-cbc', passphrase: 'p' }) as string,
    CUT: (env.PEM as string).slice(0, 120),
    JUNK: `${env.JWK as string} and more`,
  }
  for (const [credential, reason] of [
    ['{ type: signed_jwt, alg: RS256, key: { env: PEM } }', /^env PEM cannot sign with RS256: its key is for ES256$/],
    ['{ type: signed_jwt, alg: HS256, key: { env: PEM } }', /^env PEM is a key pair or a part of one/],
    ['{ type: signed_jwt, alg: ES256, key: { env: MAC } }', /^env MAC holds no private key/],
    ['{ type: signed_jwt, alg: HS512, key: { env: MAC } }', /^env MAC is too short for HS512/],
    ['{ type: signed_jwt, alg: RS256, key: { env: ENCRYPTED } }', /^env ENCRYPTED is encrypted/],
    ['{ type: signed_jwt, alg: ES256, key: { env: CUT } }', /^env CUT is a private key that cannot be read/],
    ['{ type: signed_jwt, alg: RS256, key: { env: JUNK } }', /^env JUNK holds no private key/],
    [`{ type: signed_jwt, alg: ES256, key: { file: "${open}" } }`, /^\S+open\.pem is open to every user of this machine: chmod o-rwx /],
    ['{ type: client_credentials, token_endpoint: "http://127.0.0.1:1/token", client_id: c, client_key: { env: JWK }, client_key_alg: ES256 }', /^env JWK is a JWK for RS256, and not for ES256$/],
    ['{ type: jwt_bearer, token_endpoint: "http://127.0.0.1:1/token", client_id: c, key: { env: MAC } }', /^env MAC holds no private key/],
  ] as const) {
    const { event, seen } = await firstRenewal(t, credential, { ...env, ...more })
    t.match(event, { outcome: 'unavailable', reason }, credential)
    t.same(canaries.findIn(seen), [], credential)
  }
})

/** A `command` credential that runs this script; the canary is among its arguments, its output and its errors. */
function command (script: string, secret: string): string {
  return `{ type: command, command: ${JSON.stringify([process.execPath, '-e', script, secret])} }`
}

const print = (text: string): string => `process.stdout.write(${JSON.stringify(text)}.replace("CANARY", process.argv[1]).replace("ALSO", process.argv[1]))`
const node = process.execPath.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')

for (const [what, script, reason] of [
  ['fails', 'console.log(process.argv[1]); console.error(process.argv[1]); process.exit(3)', 'failed with exit code 3'],
  ['is killed', 'console.error(process.argv[1]); process.kill(process.pid, "SIGKILL"); setTimeout(() => {}, 9_000)', 'was ended by SIGKILL'],
  ['throws', 'throw new Error(process.argv[1])', 'failed with exit code 1'],
  ['floods', 'setInterval(() => process.stdout.write(process.argv[1].repeat(2_000)), 1)', 'printed more than 64 KiB'],
  ['floods stderr', 'for (let n = 0; n < 200; n++) process.stderr.write(process.argv[1].repeat(2_000)); process.exit(4)', 'failed with exit code 4'],
  ['prints nothing', '0', 'is empty'],
  ['prints two lines', print('CANARY\nALSO'), 'gave no usable token: it must be 1 to 12288 characters'],
  ['prints a token with a header behind it', print('CANARY\r\nX-Evil: 1'), 'gave no usable token'],
  ['prints a token that is too long', 'process.stdout.write(process.argv[1].repeat(400))', 'gave no usable token'],
  ['prints control characters', print('CANARY\u0000'), 'holds control characters'],
  ['prints what is no UTF-8', 'process.stdout.write(Buffer.concat([Buffer.from(process.argv[1]), Buffer.from([255])]))', 'is not UTF-8 text'],
  ['prints JSON that is cut off', print('{"access_token": "CANARY"'), 'printed something that begins like JSON and is none'],
  ['prints JSON without a token', print('{"token": "CANARY", "expires_in": 60}'), 'gave no usable token'],
  ['prints JSON with a token that is none', print('{"access_token": ["CANARY"], "expires_in": "ALSO"}'), 'gave no usable token'],
  ['prints a token of which nothing is left', print('{"access_token": "CANARY", "expires_in": 0}'), 'printed a token that has expired already, by its expires_in'],
  ['prints a token that has expired', print('{"access_token": "CANARY", "expires_in": "-100.5"}'), 'printed a token that has expired already, by its expires_in'],
  ['prints JSON with a header behind the token', print('{"access_token": "CANARY\\r\\nX-Evil: 1"}'), 'gave no usable token'],
] as const) {
  t.test(`row 46: a command that ${what} is told without a word of its output`, async (t) => {
    const canaries = new Canaries()
    const { event, seen } = await firstRenewal(t, command(script, canaries.add('secret', mintToken())), {})
    t.match(event, { outcome: 'unavailable', type: 'command' })
    t.match(event.reason, new RegExp(`${node} ${reason}`))
    t.same(canaries.findIn(seen), [])
    t.notMatch(seen, /Evil/)
  })
}

t.test('a command that is not there, or that would need a shell', async (t) => {
  t.match((await firstRenewal(t, '{ type: command, command: [/no/such/program] }', {})).event, { reason: 'command /no/such/program was not found' })
  t.match((await firstRenewal(t, '{ type: command, command: ["echo tok_1; id"] }', {})).event, { reason: 'command echo tok_1; id was not found' })
})

t.test('a command prints a token, as it stands or in JSON, and with its lifetime it is renewed ahead', async (t) => {
  const upstream = await startUpstream(t)
  const jwt = (claims: object): string => `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.c2ln`
  const now = Math.floor(Date.now() / 1000)
  for (const [output, token, life] of [
    ['tok_1\n', 'tok_1', undefined],
    ['  {\n "access_token": "tok_2", "expires_in": 300,\n "more": {} }\n', 'tok_2', 300],
    ['{"access_token":"tok_3","expires_in":"300"}', 'tok_3', 300],
    ['{"access_token":"tok_4","expires_in":"soon"}', 'tok_4', undefined],
    ['{"access_token":"tok_4","expires_in":""}', 'tok_4', undefined],
    ['{"access_token":"tok_4","expires_in":1e400}', 'tok_4', undefined],
    ['{"access_token":"tok_5","expires_in":null}', 'tok_5', undefined],
    [jwt({ iat: now - 3000, exp: now + 600 }), jwt({ iat: now - 3000, exp: now + 600 }), 600],
    [JSON.stringify({ access_token: jwt({ iat: now - 3000, exp: now + 600 }), expires_in: 120 }), jwt({ iat: now - 3000, exp: now + 600 }), 120],
  ] as const) {
    const { event, sidecar } = await firstRenewal(t, command(print(output), 'x'), {}, { base: upstream.origin })
    t.match(event, { outcome: 'ok' }, output)
    if (life === undefined) t.notOk('expires_in' in event, output)
    else t.ok(Math.abs((event.expires_in as number) - life) <= 30, `${output}: ${event.expires_in}`)
    t.equal((await call(`${sidecar.proxyUrl}/tools/mcp`, { key: await sidecar.keyFor('alice') })).status, 200)
    t.equal(upstream.seen.at(-1)?.headers.authorization, `Bearer ${token}`)
    await sidecar.close()
  }
})

t.test('row 43: what never ends is ended after 10 s, everywhere at once', { timeout: 60_000 }, async (t) => {
  const canaries = new Canaries()
  const { env, of } = await credentials(canaries)
  const silent = await startTokenServer(t, () => 'hang')
  const dripping = await startUpstream(t, (_seen, response) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    const drip = setInterval(() => { response.write(' ') }, 100)
    response.on('close', () => clearInterval(drip))
  })
  const secret = canaries.add('secret', mintToken())
  const all = [
    ...Object.values(of(silent.endpoint)).map((credential) => [credential, /^the token endpoint did not answer within 10 s$/] as const),
    ...Object.values(of(`${dripping.origin}/token`)).map((credential) => [credential, /^the token endpoint did not answer within 10 s$/] as const),
    [command('setInterval(() => console.error(process.argv[1]), 100)', secret), /did not end within 10 s$/] as const,
  ]
  await Promise.all(all.map(async ([credential, reason]) => {
    const { event, seen } = await firstRenewal(t, credential, env, { realTime: true })
    t.match(event, { outcome: 'unavailable', reason }, credential)
    t.same(canaries.findIn(seen), [])
  }))
})
