import t from 'tap'
import { fetchJson } from '../../../src/caller/fetch-json.js'
import { discoverKeys, keysOf } from '../../../src/caller/jwt-discovery.js'
import { metadataPlaces } from '../../../src/config/url.js'
import { startJwtIssuer } from '../../helpers/jwt-issuer.js'
import { rawAnswer, startRawUpstream } from '../../helpers/peers.js'

t.test('an issuer that does not answer in time is given up', async (t) => {
  const issuer = await startJwtIssuer(t)
  issuer.instead.set('/jwks', 'hang')
  await t.rejects(fetchJson(issuer.jwksUri, 'its key set', 50), { name: 'IssuerError', message: 'its key set did not come within 0.05 s' })
})

t.test('an issuer whose answer does not end in time is given up', async (t) => {
  const { origin } = await startRawUpstream(t, (socket) => { socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"keys":') })
  await t.rejects(fetchJson(origin, 'its key set', 50), { message: 'its key set did not come within 0.05 s' })
})

t.test('what an issuer or the network says is not repeated, but for the code of an error', async (t) => {
  const { origin } = await startRawUpstream(t, (socket) => { socket.end('secret words\r\n\r\n') })
  await t.rejects(fetchJson(origin, 'its key set'), { message: /^its key set cannot be reached \((?:[A-Z0-9_]+|connection failed)\)$/ })
  await t.rejects(fetchJson('http://127.0.0.1:1/', 'its key set'), { message: /^its key set cannot be reached \((?:ECONNREFUSED|connection failed)\)$/ })
  await t.rejects(fetchJson('nothing://secret-words', 'its key set'), { message: 'its key set cannot be reached (connection failed)' })
})

t.test('only 200 is an answer', async (t) => {
  const { origin } = await startRawUpstream(t, (socket) => { socket.write(rawAnswer('{"keys":[]}', '', '206 Partial Content')) })
  await t.rejects(fetchJson(origin, 'its key set'), { message: 'its key set answered HTTP 206' })
})

t.test('metadata may name keys on another host, and never without TLS where its issuer has it', async (t) => {
  const secure = 'https://id.example'
  const plain = 'http://localhost:1'
  for (const [issuer, uri, reason] of [
    [secure, 'https://keys.example/x', undefined],
    [plain, 'https://keys.example/x', undefined],
    [plain, 'http://localhost:2/x', undefined],
    [secure, 'http://id.example/x', /without TLS/],
    [secure, 'file:///etc/keys', /without TLS/],
    [plain, 'data:application/json,{}', /without TLS/],
    [secure, '/x', /names no jwks_uri/],
    [secure, ['https://keys.example/x'], /names no jwks_uri/],
  ] as const) {
    const read = () => keysOf(issuer, { issuer, jwks_uri: uri }).href
    if (reason === undefined) t.equal(read(), uri)
    else t.throws(read, { message: reason })
  }
  t.throws(() => keysOf(secure, { issuer: `${secure}/`, jwks_uri: 'https://id.example/x' }), { message: /names another issuer/ })
})

t.test('RFC 8414 §3.1: metadata is asked for at the issuer\'s host, with its path behind the well-known part or before it', async (t) => {
  t.same(metadataPlaces(new URL('https://id.example/realms/one/')), [
    'https://id.example/.well-known/oauth-authorization-server/realms/one', 'https://id.example/realms/one/.well-known/openid-configuration',
    'https://id.example/.well-known/openid-configuration/realms/one',
  ])
  for (const written of ['https://id.example', 'https://id.example/']) {
    t.same(metadataPlaces(new URL(written)), ['https://id.example/.well-known/oauth-authorization-server', 'https://id.example/.well-known/openid-configuration'])
  }
})

t.test('keys are found with OpenID Connect\'s well-known part before the issuer\'s path, too', async (t) => {
  const issuer = await startJwtIssuer(t, { path: '/tenant' })
  issuer.instead.set('/.well-known/oauth-authorization-server/tenant', { status: 404 })
  issuer.instead.set('/.well-known/openid-configuration/tenant', { issuer: issuer.url, jwks_uri: issuer.jwksUri })
  t.equal((await discoverKeys(issuer.url)).href, issuer.jwksUri)
})
