import t, { type Test } from 'tap'
import { startAdmin, type AdminSidecar } from '../helpers/admin-api.js'
import { call } from '../helpers/call.js'
import { Canaries } from '../helpers/canary.js'
import { loadConfigText } from '../../src/config/load.js'
import { mintToken } from '../helpers/mint.js'
import { drain, eventually, open } from '../helpers/peers.js'
import { requestText, sendRaw } from '../helpers/raw.js'
import { startSidecar } from '../helpers/sidecar.js'
import { startOpaqueIssuer } from '../helpers/tokens.js'
import { startUpstream } from '../helpers/upstream.js'

const UPSTREAM = 'upstreams: { tools: { url: "http://127.0.0.1:1/mcp", credential: { type: api_token } } }\n'
const FILES = ['/', '/page/page.css', '/page/icon.svg', '/page/main.js', '/page/calls.js', '/page/dom.js', '/page/histogram.js', '/page/names.js', '/page/reckon.js', '/page/stream.js']

/** Follows a stream until its text fits, or it ends. */
async function follow (t: Test, url: string, headers: Record<string, string>, fits: (text: string) => boolean): Promise<{ status: number, text: string, headers: Headers, ended: boolean }> {
  const over = new AbortController()
  t.teardown(() => over.abort())
  const answer = await fetch(url, { headers, signal: AbortSignal.any([over.signal, AbortSignal.timeout(15_000)]) })
  const reader = answer.body?.getReader()
  let [text, ended] = ['', false]
  while (!ended && !fits(text)) {
    const { done, value } = await reader?.read() ?? { done: true }
    ended = done
    if (value !== undefined) text += Buffer.from(value).toString()
  }
  await reader?.cancel()
  return { status: answer.status, text, headers: answer.headers, ended }
}

const bearer = ({ token }: Pick<AdminSidecar, 'token'>): Record<string, string> => ({ authorization: `Bearer ${token}` })

t.test('row 39: the page and its streams are served to no foreign Host, and what moves to no foreign page', async (t) => {
  const { sidecar, token } = await startAdmin(t, UPSTREAM + 'callers: { hosts: [valet.internal], origins: ["https://app.example"] }')
  const send = async (method: string, path: string, headers: string[]) => {
    const answer = await sendRaw(sidecar.adminUrl, requestText(`${method} ${path} HTTP/1.1`, headers))
    return [answer.status, /"code":"(\w+)"/.exec(answer.body)?.[1]]
  }
  for (const path of [...FILES, '/figures', '/v1/events', '/v1/sessions']) {
    for (const host of ['evil.example', '127.0.0.1.nip.io', '0.0.0.0', '']) t.same(await send('GET', path, [`Host: ${host}`, `Authorization: Bearer ${token}`]), [403, 'ERR_HOST_REFUSED'], `${path} at ${host}`)
  }
  for (const path of ['/figures', '/v1/events', '/v1/sessions']) {
    for (const header of ['Origin: https://evil.example', 'Origin: null', 'Origin: https://app.example', 'Origin: http://localhost:3000', 'Origin: http://valet.internal', 'Sec-Fetch-Site: cross-site', 'Sec-Fetch-Site: same-site']) {
      t.same(await send('GET', path, ['Host: localhost', header, `Authorization: Bearer ${token}`]), [403, 'ERR_ORIGIN_REFUSED'], `${path} with ${header}`)
    }
  }
  t.same(await send('GET', '/figures', ['Host: localhost', 'Host: localhost']), [400, 'ERR_REQUEST_INVALID'])
  t.same(await send('GET', '/', ['Host: localhost', 'Sec-Fetch-Site: cross-site']), [200, undefined], 'a link to the page may stand anywhere')
  for (const [host, origin] of [['localhost', 'http://localhost'], ['127.0.0.1:8402', 'http://127.0.0.1:8402'], ['valet.internal', 'https://valet.internal']] as const) {
    t.same(await send('DELETE', '/v1/sessions/ses_none', [`Host: ${host}`, `Origin: ${origin}`, 'Sec-Fetch-Site: same-origin', `Authorization: Bearer ${token}`]), [404, 'ERR_NOT_FOUND'], 'its own page may')
  }
})

t.test('each file says that nothing but these files may run, and none may be framed or kept', async (t) => {
  const { sidecar } = await startAdmin(t, UPSTREAM)
  for (const path of FILES) {
    const { status, headers, body } = await call(sidecar.adminUrl + path, { method: 'GET' })
    t.equal(status, 200, path)
    const policy = String(headers['content-security-policy']).split('; ')
    for (const part of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'", "require-trusted-types-for 'script'"]) t.ok(policy.includes(part), part)
    t.notMatch(policy.join(), /unsafe|\*|http|data:/)
    t.match(headers, { 'x-content-type-options': 'nosniff', 'x-frame-options': 'DENY', 'cache-control': 'no-store', 'referrer-policy': 'no-referrer', 'cross-origin-resource-policy': 'same-origin' })
    t.notMatch(body, /https?:\/\/(?!www\.w3\.org\/)|innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b| style=| on\w+="/, `${path} is plain`)
  }
})

t.test('rows 39 and 46: what has names in it takes the token, and no secret is in anything', async (t) => {
  const canaries = new Canaries()
  const upstream = await startUpstream(t)
  const issuer = await startOpaqueIssuer(t)
  const admin = await startAdmin(t, `
upstreams:
  tools: { url: "${upstream.origin}/mcp" }
  oauth: { url: "${upstream.origin}/oauth", credential: { type: refresh_token, token_endpoint: "${issuer.endpoint}", client_id: app } }
`)
  const { sidecar, ask, keyFor, token } = admin
  canaries.add('admin token', token)
  canaries.add('refresh token', issuer.seed)
  await ask('PUT', '/principals/alice-of-names', { credentials: { tools: { type: 'api_token', token: canaries.add('api token', mintToken()) }, oauth: { refresh_token: issuer.seed, client_secret: canaries.add('client secret', mintToken()) } } })
  const { key, id } = await keyFor('alice-of-names', { agent: 'agent-of-names' })
  canaries.add('session key', key)
  for (const name of ['tools', 'oauth']) t.equal((await call(`${sidecar.proxyUrl}/${name}/mcp`, { key })).status, 200)
  await call(`${sidecar.proxyUrl}/tools/mcp`, { key: canaries.add('no key', 'vk_' + mintToken()) })
  await ask('POST', '/credentials/alice-of-names/oauth/refresh')
  for (const issued of issuer.issued) canaries.add('access token', issued)
  canaries.add('rotated token', issuer.refresh)

  for (const headers of [{}, { authorization: `Bearer ${mintToken()}` }, { authorization: `Bearer ${key}` }, { 'x-session-key': key }] as Array<Record<string, string>>) {
    const { status, text } = await follow(t, `${sidecar.adminUrl}/v1/events`, headers, () => false)
    t.equal(status, 401)
    t.notMatch(text, /of-names/)
  }
  t.equal((await call(`${sidecar.adminUrl}/v1/events?token=${token}`, { method: 'GET' })).status, 401)

  const open = await follow(t, `${sidecar.adminUrl}/figures`, {}, (text) => /\n\nevent: figures\n.*\n\n/.test(text))
  t.equal(open.headers.get('content-type'), 'text/event-stream; charset=utf-8')
  t.match(open.headers.get('content-security-policy'), "default-src 'none'")
  t.match(open.text, /"tools"/)
  t.notMatch(open.text, /of-names|ses_/)
  const full = await follow(t, `${sidecar.adminUrl}/v1/events`, bearer(admin), (text) => text.includes('event: authentication'))
  t.equal(full.headers.get('cache-control'), 'no-store')
  t.match(full.text, new RegExp(`event: figures[^]*event: credentials[^]*alice-of-names[^]*event: sessions[^]*${id}[^]*event: authentication[^]*ERR_SESSION_UNKNOWN`))
  const other = await follow(t, `${sidecar.adminUrl}/v1/events?principal=bob`, bearer(admin), (text) => text.includes('event: sessions'))
  t.match(other.text, 'event: credentials\ndata: {"total":0,"items":[]}\n\nevent: sessions\ndata: {"total":0,"items":[]}')
  t.equal((await ask('GET', '/events?nothing=1')).status, 400)
  t.same(canaries.findIn(open.text + full.text + other.text + JSON.stringify([...full.headers])), [])
})

t.test('without a token in the config there are the figures alone', async (t) => {
  const sidecar = await startSidecar(t, UPSTREAM)
  t.equal((await call(`${sidecar.adminUrl}/v1/events`, { method: 'GET' })).status, 404)
  t.match((await follow(t, `${sidecar.adminUrl}/figures`, {}, (text) => text.includes('event'))).text, '"api":false')
  t.equal((await call(`${sidecar.adminUrl}/`, { method: 'GET' })).status, 200)
})

t.test('a stream ends with its token, with its config and with the sidecar', async (t) => {
  const yaml = 'listen: 127.0.0.1:0\nadmin: { listen: 127.0.0.1:0, token: { env: VALET_ADMIN_TOKEN } }\nstate: { driver: memory }\n'
  const upstream = await startUpstream(t, () => {})
  const open = `upstreams: { tools: { url: "${upstream.origin}/mcp", anonymous: [no_principal] } }\n`
  const admin = await startAdmin(t, `drain: { calls: 1s }\n${open}`)
  const { sidecar, env } = admin
  const watch = async (headers: Record<string, string>) => await follow(t, `${sidecar.adminUrl}/v1/events`, headers, () => false)
  const begun = async (): Promise<void> => { await follow(t, `${sidecar.adminUrl}/v1/events`, bearer({ token: env.VALET_ADMIN_TOKEN as string }), (text) => text.includes('event')) }

  const first = watch(bearer(admin))
  await begun()
  const second = env.VALET_ADMIN_TOKEN = mintToken()
  t.match(await first, { status: 200, ended: true }, 'a token that was rotated')

  const reloaded = watch(bearer({ token: second }))
  await begun()
  const third = mintToken()
  // A call that is under way keeps the config before, and must not keep who watched under it.
  const underWay = fetch(`${sidecar.proxyUrl}/tools/mcp`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"jsonrpc":"2.0","id":1,"method":"ping"}' }).catch(() => {})
  await eventually(() => upstream.seen.length === 1)
  await sidecar.reload(async () => loadConfigText(`${yaml}drain: { calls: 1s }\n${open}`, { env: { VALET_ADMIN_TOKEN: third } }))
  t.match(await reloaded, { status: 200, ended: true }, 'a config that was succeeded')
  t.equal((await call(`${sidecar.adminUrl}/v1/sessions`, { method: 'GET', headers: bearer({ token: second }) })).status, 401)

  env.VALET_ADMIN_TOKEN = third
  const closed = Promise.all([watch(bearer({ token: third })), follow(t, `${sidecar.adminUrl}/figures`, {}, () => false)])
  await begun()
  await sidecar.close()
  await underWay
  t.match(await closed.catch((error: unknown) => error), [{ ended: true }, { ended: true }])
})

t.test('row 39: a stream ends where the config serves its name no longer', async (t) => {
  const upstream = await startUpstream(t)
  const admin = await startAdmin(t, `callers: { hosts: [page.example] }\nupstreams: { tools: { url: "${upstream.origin}/mcp" } }\n`)
  const { sidecar, env } = admin
  const yaml = 'listen: 127.0.0.1:0\nadmin: { listen: 127.0.0.1:0, token: { env: VALET_ADMIN_TOKEN } }\nstate: { driver: memory }\n'
  const streams = await Promise.all(['/figures', '/v1/events'].map(async (path) => await open(sidecar.adminUrl + path, { method: 'GET', headers: { host: 'page.example', ...bearer(admin) } }).head))
  t.same(streams.map(({ statusCode }) => statusCode), [200, 200])
  const ended = Promise.all(streams.map(async (stream) => await drain(stream)))
  await sidecar.reload(async () => loadConfigText(`${yaml}upstreams: { tools: { url: "${upstream.origin}/mcp" } }\n`, { env }))
  t.match(await ended, [{ complete: true }, { complete: true }])
})

t.test('row 43: only so many watch, and nobody else is kept out by them', async (t) => {
  const admin = await startAdmin(t, UPSTREAM)
  const watch = async (path: string) => await fetch(`${admin.sidecar.adminUrl}${path}`, { headers: bearer(admin), signal: over.signal })
  const over = new AbortController()
  t.teardown(() => over.abort())
  const answers = await Promise.all(Array.from({ length: 12 }, async () => await watch('/figures')))
  t.same(answers.map(({ status }) => status).sort(), [...Array(8).fill(200), ...Array(4).fill(503)])
  t.match(await answers.find(({ status }) => status === 503)?.json(), { error: { code: 'ERR_TOO_MANY_WATCHERS' } })
  t.equal((await watch('/v1/events')).status, 200, 'strangers take no place of those who have the token')
  t.equal((await admin.ask('GET', '/sessions')).status, 200)
})
