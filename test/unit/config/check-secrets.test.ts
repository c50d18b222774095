import t from 'tap'
import { checkSecrets } from '../../../src/config/check-secrets.js'
import { mintToken } from '../../helpers/mint.js'
import { makeCa, makeCertificate } from '../../helpers/tls.js'
import { load } from './helpers.js'

const NOW = 1_800_000_000_000
const BASE = 'state: { driver: memory }\nupstreams: { tools: { url: "https://mcp.example/mcp" } }\n'
const credential = (text: string): string => `${BASE}principals: { alice: { credentials: { tools: ${text} } } }\n`
const problems = async (text: string, env: Record<string, string>): Promise<string[]> => (await checkSecrets(load(text, env))).map(({ path, message }) => `${path}: ${message}`)
const EXPECTED = 'expected a bearer token (RFC 6750): 1 to 12288 characters of A-Z a-z 0-9 - . _ ~ + / ='
const jwt = (claims: object): string => [{ alg: 'none' }, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.') + '.' + mintToken()

t.test('what cannot be sent as a bearer token is none, with what there is to mend, and without itself', async (t) => {
  const token = mintToken()
  const at = 'principals.alice.credentials.tools'
  for (const [value, hint] of [[`Bearer ${token}`, '; the word Bearer is added by itself: leave it out'], [`"${token}"`, '; leave the quotes out'], [`${token} `, ''], [`${token} ${token}`, '']] as const) {
    const complaint = `env T holds something else: ${EXPECTED}${hint}`
    t.same(await problems(credential('{ type: api_token, token: { env: T } }'), { T: value }), [`${at}.token: ${complaint}`])
    t.same(await problems(credential('{ type: refresh_token, issuer: "https://id.example", client_id: a, refresh_token: { env: R }, access_token: { env: T } }'), { R: token, T: value }), [`${at}.access_token: ${complaint}`])
    t.same(await problems(credential('{ type: token_exchange, issuer: "https://id.example", client_id: a, client_secret: { env: S }, subject_token: { env: T }, actor_token: { env: T } }'), { S: token, T: value }), [`${at}.subject_token: ${complaint}`, `${at}.actor_token: ${complaint}`])
    t.same(await problems(credential('{ type: jwt_bearer, issuer: "https://id.example", assertion: { env: T } }'), { T: value }), [`${at}.assertion: ${complaint}`])
  }
  t.same(await problems(credential('{ type: refresh_token, issuer: "https://id.example", client_id: a, refresh_token: { env: R } }'), { R: 'né' }), [`${at}.refresh_token: env R holds something else: expected a refresh token (RFC 6749): 1 to 12288 printable ASCII characters`])
  t.same(await problems(credential('{ type: api_token, token: { env: T } }'), { T: token }), [])
})

t.test('a token that somebody else puts there and that has expired is warned of', async (t) => {
  const config = (T: string) => load(credential('{ type: api_token, token: { env: T } }'), { T })
  const warned: unknown[] = []
  const look = async (token: string): Promise<void> => { t.same(await checkSecrets(config(token), { now: NOW, warn: (warning) => warned.push(warning) }), []) }
  for (const fine of [jwt({ exp: NOW / 1000 + 60 }), jwt({}), jwt({ exp: 'soon' }), mintToken(), `a.${mintToken()}.b`]) await look(fine)
  t.same(warned, [])
  await look(jwt({ exp: NOW / 1000 - 1 }))
  t.match(warned, [{ path: 'principals.alice.credentials.tools.token', message: 'env T is a JWT that has expired: put a new one there' }])
  t.equal(warned.length, 1)
})

t.test('certificates and their keys are read, and belong together', async (t) => {
  const [ca, client, other] = [await makeCa(), await makeCertificate(['valet.example']), await makeCertificate(['valet.example'])]
  const text = BASE.replace('mcp"', 'mcp", tls: { ca: { env: CA }, cert: { env: CERT }, key: { env: KEY } }')
  const good = { CA: ca.cert, CERT: client.cert, KEY: client.key }
  const cases: ReadonlyArray<readonly [Partial<typeof good>, string[]]> = [
    [{}, []],
    [{ CA: ca.cert + other.cert, CERT: client.cert + ca.cert }, []],
    [{ CA: 'no certificate' }, ['ca: env CA holds no certificate: expected PEM (-----BEGIN CERTIFICATE-----)']],
    [{ CA: ca.cert + ca.cert.replace(/MII.{40}/, 'MII') }, ['ca: env CA holds 2 certificates, of which number 2 cannot be read: is it complete?']],
    [{ CERT: client.cert.replace(/MII.{40}/, 'MII') }, ['cert: env CERT holds a certificate that cannot be read: is it complete?']],
    [{ CERT: client.key }, ['cert: env CERT holds no certificate: expected PEM (-----BEGIN CERTIFICATE-----)']],
    [{ KEY: client.cert }, ['key: env KEY holds no private key: expected PEM (-----BEGIN PRIVATE KEY-----)']],
    [{ KEY: client.key.replace(/MI.{20}/, 'MI') }, ['key: env KEY is a private key that cannot be read: is it complete?']],
    [{ KEY: '-----BEGIN ENCRYPTED PRIVATE KEY-----\n' }, ['key: env KEY is encrypted: store the key without a passphrase, for example with openssl pkey']],
    [{ KEY: other.key }, ['key: env KEY is not the key of the certificate in env CERT']],
  ]
  for (const [bad, told] of cases) t.same(await problems(text, { ...good, ...bad }), told.map((line) => `upstreams.tools.tls.${line}`))
})
