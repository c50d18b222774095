import { rmSync, writeFileSync } from 'node:fs'
import { chmod, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { loadConfigText } from '../../src/config/load.js'
import { createSidecar } from '../../src/sidecar.js'
import { startAdmin } from '../helpers/admin-api.js'
import { call } from '../helpers/call.js'
import { Canaries } from '../helpers/canary.js'
import { mintToken } from '../helpers/mint.js'
import { eventually } from '../helpers/peers.js'
import { requestText, sendRaw } from '../helpers/raw.js'
import { metric, startSidecar } from '../helpers/sidecar.js'

const UPSTREAM = 'upstreams: { tools: { url: "http://127.0.0.1:1/mcp", credential: { type: api_token } } }\n'
const SESSIONS = 'GET /v1/sessions HTTP/1.1'

t.test('row 39: a foreign Host and any Origin are refused before the token is looked at, and health and metrics are not', async (t) => {
  const { sidecar, token } = await startAdmin(t, UPSTREAM + 'callers: { hosts: [valet.internal], origins: ["https://app.example"] }')
  const send = async (line: string, headers: string[]) => {
    const answer = await sendRaw(sidecar.adminUrl, requestText(line, headers))
    const body = /\{.*\}/s.exec(answer.body)?.[0] ?? '{}'
    return { status: answer.status, code: (JSON.parse(body) as { error?: { code?: string } }).error?.code, headers: answer.headers }
  }
  for (const authorization of [`Bearer ${token}`, 'Bearer wrong-but-long-enough']) {
    for (const host of ['evil.example', '127.0.0.1.nip.io', 'localhost.', '0.0.0.0', '']) {
      const { status, code } = await send(SESSIONS, [`Host: ${host}`, `Authorization: ${authorization}`])
      t.same([status, code], [403, 'ERR_HOST_REFUSED'], host)
    }
    for (const origin of ['https://app.example', 'https://evil.example', 'null', sidecar.adminUrl]) {
      const { status, code, headers } = await send(SESSIONS, ['Host: localhost', `Origin: ${origin}`, `Authorization: ${authorization}`])
      t.same([status, code], [403, 'ERR_ORIGIN_REFUSED'], origin)
      t.notOk([...headers.keys()].some((name) => name.startsWith('access-control-')))
    }
  }
  t.equal((await send('OPTIONS /v1/sessions HTTP/1.1', ['Host: localhost', 'Origin: https://app.example', 'Access-Control-Request-Method: POST'])).status, 403)
  for (const host of ['localhost', '127.0.0.1:8402', '[::1]', 'valet.internal']) t.equal((await send(SESSIONS, [`Host: ${host}`, `Authorization: Bearer ${token}`])).status, 200, host)
  for (const path of ['/healthz', '/readyz', '/metrics']) t.equal((await sendRaw(sidecar.adminUrl, requestText(`GET ${path} HTTP/1.1`, ['Host: pod-7.cluster']))).status, 200, path)
})

t.test('row 41: two tokens, two hosts or two lengths are two opinions', async (t) => {
  const { sidecar, token } = await startAdmin(t, UPSTREAM)
  const bearer = `Authorization: Bearer ${token}`
  for (const headers of [['Host: localhost', bearer, bearer], ['Host: localhost', 'Host: localhost', bearer], ['Host: localhost', bearer, 'Content-Length: 0', 'Content-Length: 0']]) {
    t.equal((await sendRaw(sidecar.adminUrl, requestText(SESSIONS, headers))).status, 400, headers.join())
  }
})

t.test('row 49: what is no HTTP is answered in the API\'s own form, and reaches nothing', async (t) => {
  const { sidecar, token } = await startAdmin(t, UPSTREAM)
  for (const bytes of ['nonsense\r\n\r\n', requestText('GET /v1/%zz HTTP/1.1', ['Host: localhost', `Authorization: Bearer ${token}`]), requestText('POST /v1/sessions HTTP/1.1', ['Host: localhost', 'Content-Length: x'])]) {
    const { status, body } = await sendRaw(sidecar.adminUrl, bytes)
    t.equal(status, 400)
    t.match(JSON.parse(body), { error: { code: 'ERR_REQUEST_INVALID', details: [], request_id: /\w/ } })
  }
})

t.test('a wrong token is counted and logged, without itself, and locks nobody out', async (t) => {
  const canaries = new Canaries()
  const { sidecar, ask, token } = await startAdmin(t, UPSTREAM)
  const guess = async (wrong: string) => await call(`${sidecar.adminUrl}/v1/sessions`, { method: 'GET', headers: { authorization: `Bearer ${wrong}` } })
  const guesses = Promise.all(Array.from({ length: 100 }, async (_, i) => await guess(canaries.add(`guess ${i}`, mintToken()))))
  t.equal((await ask('GET', '/sessions')).status, 200)
  const answers = await guesses
  t.same(new Set(answers.map(({ status }) => status)), new Set([401]))
  t.equal(answers[0]?.headers['www-authenticate'], 'Bearer realm="mcp-valet-admin"')
  t.equal((await call(`${sidecar.adminUrl}/v1/sessions`, { method: 'GET' })).status, 401)
  t.equal(metric(await sidecar.metrics(), 'mcp_valet_denied_total{reason="ERR_ADMIN_UNAUTHORIZED"}'), 101)
  t.equal(sidecar.events.filter((event) => event.event === 'denied' && event.code === 'ERR_ADMIN_UNAUTHORIZED').length, 101)
  canaries.add('the token', token)
  t.same(canaries.findIn(JSON.stringify(sidecar.events) + answers.map(({ body }) => body).join() + await sidecar.metrics()), [])
})

t.test('a session key, a query or another scheme is no admin token', async (t) => {
  const { sidecar, token, ask, keyFor } = await startAdmin(t, UPSTREAM)
  await ask('PUT', '/principals/alice', { credentials: {} })
  const { key } = await keyFor('alice')
  const url = `${sidecar.adminUrl}/v1/sessions`
  for (const [target, headers] of [
    [url, { authorization: `Bearer ${key}` }], [url, { 'x-session-key': key }], [`${url}?access_token=${token}`, {}], [url, { authorization: `Basic ${Buffer.from(`admin:${token}`).toString('base64')}` }],
    [url, { 'x-api-key': token }], [url, { cookie: `token=${token}` }], [url, { authorization: token }],
  ] as const) {
    t.equal((await call(target, { method: 'GET', headers })).status, 401)
  }
})

t.test('a rotated token file is picked up, and the old token opens nothing any more', async (t) => {
  const file = join(t.testdir({}), 'token')
  const [first, second] = [mintToken(), mintToken()]
  const put = async (text: string, mode = 0o600): Promise<void> => {
    await writeFile(`${file}.new`, text, { mode })
    await chmod(`${file}.new`, mode)
    await rename(`${file}.new`, file)
  }
  await put(`${first}\n`)
  const sidecar = await startSidecar(t, `listen: 127.0.0.1:0\nadmin: { listen: 127.0.0.1:0, token: { file: "${file}" } }\n${UPSTREAM}`)
  const status = async (token: string): Promise<number> => (await call(`${sidecar.adminUrl}/v1/sessions`, { method: 'GET', headers: { authorization: `Bearer ${token}` } })).status
  const becomes = async (token: string, wanted: number): Promise<void> => {
    let seen = 0
    const look = setInterval(() => { void status(token).then((now) => { seen = now }) }, 50)
    await eventually(() => seen === wanted, String(wanted)).finally(() => clearInterval(look))
  }
  t.equal(await status(first), 200)
  await put(second)
  await becomes(second, 200)
  t.equal(await status(first), 401)

  await put(second, 0o644)
  await becomes(second, 503)
  t.match(sidecar.events.filter(({ event }) => event === 'warning'), [{ reason: /503.*open to every user of this machine/ }])
  await put(second)
  await becomes(second, 200)
})

t.test('a token that is missing stops the API and not the sidecar; one that is too short stops the start', async (t) => {
  const yaml = `listen: 127.0.0.1:0\nadmin: { listen: 127.0.0.1:0, token: { env: TOKEN } }\nstate: { driver: memory }\n${UPSTREAM}`
  const env: Record<string, string> = {}
  const sidecar = await startSidecar(t, yaml.replace(/^state.*\n/m, ''), { env })
  t.match(sidecar.events, [{ event: 'warning', reason: /TOKEN is not set/ }, { event: 'listening' }])
  const answer = await call(`${sidecar.adminUrl}/v1/sessions`, { method: 'GET', headers: { authorization: `Bearer ${mintToken()}` } })
  t.same([answer.status, answer.json().error.code], [503, 'ERR_ADMIN_UNAVAILABLE'])
  t.equal((await call(`${sidecar.adminUrl}/readyz`, { method: 'GET' })).status, 200)

  const short = mintToken().slice(0, 15)
  const refused = await createSidecar(loadConfigText(yaml, { env: { TOKEN: short } })).catch((error: unknown) => error) as Error
  t.match(refused, { name: 'SecretRefError', message: /15 characters; it takes 16 to 4096/ })
  t.notMatch(refused.message, short)
})

t.test('row 43: a body that never comes, and a head that never ends, are let go', async (t) => {
  const { sidecar, token } = await startAdmin(t, UPSTREAM, { limits: { headers: 200, request: 400, check: 50 } })
  for (const bytes of [`POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${token}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{`, 'GET /v1/sessions HTTP/1.1\r\nHost: loc']) {
    const { status, body } = await sendRaw(sidecar.adminUrl, bytes)
    t.equal(status, 408)
    t.match(JSON.parse(body), { error: { code: 'ERR_REQUEST_TIMEOUT' } })
  }
})

t.test('an admin token that is gone at run time: a reload is taken up as a start is, and says what it costs; one that is unfit keeps a config out', async (t) => {
  const dir = t.testdir({})
  const file = join(dir, 'token')
  const token = mintToken()
  writeFileSync(file, token, { mode: 0o600 })
  const yaml = (more = ''): string => `listen: 127.0.0.1:0\nadmin: { listen: 127.0.0.1:0, token: { file: "${file}" } }\nstate: { driver: memory }\n${UPSTREAM}${more}`
  const sidecar = await startSidecar(t, yaml())
  const to = async (more: string): Promise<void> => await sidecar.reload(async () => loadConfigText(yaml(more), { env: {} }))
  const told = (): unknown[] => sidecar.events.splice(0).map((event) => [event.event, 'reason' in event ? event.reason : undefined])
  told()
  rmSync(file)
  await to('drain: { calls: 1s }\n')
  t.match(told(), [['warning', `the admin API answers 503 until its token can be read: there is no file ${file}`], ['reloaded', undefined]])
  await sidecar.secretsChanged([`file ${file}`])
  t.match(told(), [['warning', /answers 503/], ['reloaded', undefined]])
  writeFileSync(file, 'short', { mode: 0o600 })
  await t.rejects(to('drain: { calls: 2s }\n'), /the admin token .* has 5 characters/)
  t.match(told(), [['reload_refused', /has 5 characters/]])
  await sidecar.secretsChanged([`file ${file}`])
  t.match(told(), [['warning', /answers 503.*has 5 characters/], ['reloaded', undefined]])
  writeFileSync(file, token, { mode: 0o600 })
  await to('')
  t.same(told(), [['reloaded', undefined]])
})
