import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { writeFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t, { type Test } from 'tap'
import { mintSessionKey } from '../../src/caller/session-key.js'
import type { Config } from '../../src/config/config.js'
import { ConfigError, loadConfigText } from '../../src/config/load.js'
import { UpstreamDispatcher } from '../../src/upstream/dispatcher.js'
import { call, errorCode, rpc } from '../helpers/call.js'
import { manualClock } from '../helpers/manual-clock.js'
import { door, eventually, freshToken, open, piece } from '../helpers/peers.js'
import { serveProcess } from '../helpers/serving.js'
import { metric, startSidecar, type TestSidecar } from '../helpers/sidecar.js'
import { bearerOf, startOpaqueIssuer, startTokenServer } from '../helpers/tokens.js'
import { namesIn, startToolServer } from '../helpers/tool-server.js'
import { answerJson, guarded, startUpstream } from '../helpers/upstream.js'

const LISTEN = 'listen: 127.0.0.1:0\nadmin: { listen: 127.0.0.1:0 }\nstate: { driver: memory }\n'
const PRINCIPALS = 'principals: { alice: { credentials: { tools: { type: api_token, token: { env: ALICE } } } } }\n'

/** A sidecar, and what takes it to another config. */
async function start (t: Test, yaml: string, env: Record<string, string>): Promise<{ sidecar: TestSidecar, to: (yaml: string) => Promise<void>, config: (yaml: string) => Config }> {
  const sidecar = await startSidecar(t, yaml, { env })
  const config = (text: string): Config => loadConfigText(/^listen:/m.test(text) ? text : LISTEN + text, { env })
  return { sidecar, config, to: async (text) => await sidecar.reload(async () => config(text)) }
}

const upstreams = (url: string, more = ''): string => `upstreams: { tools: { url: "${url}/mcp"${more} } }\n`
const session = (name: string, more = ''): string => `sessions: [{ principal: alice, agent: planner, key: { env: ${name} }${more} }]\n`

t.test('row 52: a config that cannot be taken up changes nothing, and says why', async (t) => {
  const upstream = await startUpstream(t)
  const KEY = mintSessionKey().reveal()
  const env = { ALICE: freshToken(), KEY, SAME: KEY, SHORT: 'short' }
  const before = upstreams(upstream.origin) + PRINCIPALS + session('KEY')
  const { sidecar, to } = await start(t, before, env)
  const url = `${sidecar.proxyUrl}/tools/mcp`
  const bad: Record<string, [string, RegExp]> = {
    'mistakes in it': ['upstream: {}\n', /line 4: upstream: unknown key; did you mean "upstreams"/],
    'more mistakes than a line holds': [`upstreams: { tools: { ${Array.from({ length: 8 }, (_, i) => `wrong${i}: 1`).join(', ')} } }`, /; and \d+ more: see mcp-valet check$/],
    'another listener': [before.replace('upstreams', 'listen: 127.0.0.1:1\nadmin: { listen: 127.0.0.1:0 }\nstate: { driver: memory }\nupstreams'), /^listen cannot be changed while mcp-valet runs: restart it/],
    'another state': [`listen: 127.0.0.1:0\nadmin: { listen: 127.0.0.1:0 }\nstate: { path: ${t.testdir()} }\n${before}`, /^state cannot be changed/],
    'a session key that is not there': [upstreams(upstream.origin) + PRINCIPALS + session('NOWHERE'), /environment variable NOWHERE is not set/],
    'a session key that is none': [upstreams(upstream.origin) + PRINCIPALS + session('SHORT'), /not a session key/],
    'one session key twice': [before.replace('sessions: [', 'sessions: [{ principal: alice, agent: other, key: { env: SAME } }, '), /already in use/],
    'a short admin token': [`listen: 127.0.0.1:0\nadmin: { listen: 127.0.0.1:0, token: { env: SHORT } }\nstate: { driver: memory }\n${before}`, /admin token/],
    'a credential type that nobody has registered': [before.replace('type: api_token, token: { env: ALICE }', 'type: custom, name: mine'), /no credential type is registered/],
  }
  for (const [what, [yaml, reason]] of Object.entries(bad)) {
    await t.rejects(to(yaml), what)
    const told = sidecar.events.filter((event) => event.event === 'reload_refused').at(-1)
    t.match(told, { cause: 'config', reason }, what)
    t.equal((await call(url, { key: KEY })).status, 200, `${what}: it goes on`)
  }
  t.equal(metric(await sidecar.metrics(), 'mcp_valet_config_reloads_total{outcome="refused"}'), Object.keys(bad).length)
  await t.rejects(sidecar.reload(async () => { throw new TypeError('quotes a secret') }))
  t.notMatch(JSON.stringify(sidecar.events), 'quotes a secret')
  await t.rejects(to('upstream: {}'), ConfigError)
})

t.test('row 52: a stream that lives on under an earlier config holds up nothing of those that came later', async (t) => {
  const sockets = new Set<Socket>()
  const upstream = await startUpstream(t, (seen, response, request) => {
    if (seen.method === 'GET') return response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
    sockets.add(request.socket)
    answerJson(seen, response)
  })
  // Or the connection would close by itself, and show nothing.
  upstream.server.keepAliveTimeout = 120_000
  const env = { ALICE: freshToken(), KEY: mintSessionKey().reveal() }
  const yaml = upstreams(upstream.origin) + PRINCIPALS + session('KEY')
  const { sidecar, to } = await start(t, yaml, env)
  const url = `${sidecar.proxyUrl}/tools/mcp`
  const stream = await open(url, { method: 'GET', key: env.KEY }).head
  await piece(stream)

  await to(yaml)
  t.equal((await call(url, { key: env.KEY })).status, 200)
  t.equal(sockets.size, 1)
  await to(yaml)
  await eventually(() => [...sockets].every(({ destroyed }) => destroyed), 'the end of what nobody uses any more')
  t.notOk(stream.destroyed, 'the stream lives on')
})

t.test('row 52: what a config says holds from the next call on', async (t) => {
  const [one, two] = [await startToolServer(t, { tools: ['add', 'drop'] }), await startToolServer(t, { tools: ['add', 'drop'] })]
  const env = { ALICE: freshToken(), BOB: freshToken(), KEY: mintSessionKey().reveal(), OTHER: mintSessionKey().reveal() }
  const { sidecar, to } = await start(t, upstreams(one.origin) + PRINCIPALS + session('KEY'), env)
  const url = `${sidecar.proxyUrl}/tools/mcp`
  const dynamic = await sidecar.keyFor('alice', 'dynamic')
  t.same(namesIn(await call(url, { key: env.KEY })), ['add', 'drop'])

  await to(`upstreams: { tools: { url: "${two.origin}/mcp", tools: { deny: [drop] } }, more: { url: "${one.origin}/mcp" } }
principals: { alice: { credentials: { tools: { type: api_token, token: { env: ALICE } }, more: { type: api_token, token: { env: BOB } } } }, bob: { credentials: { tools: { type: api_token, token: { env: BOB } } } } }
sessions: [{ principal: bob, agent: planner, key: { env: KEY } }, { principal: alice, agent: planner, key: { env: OTHER }, tools: { allow: [nothing] } }]
`)
  t.same(namesIn(await call(url, { key: env.KEY })), ['add'], 'another server, with a policy')
  t.equal(bearerOf(two.seen.at(-1)), env.BOB, 'the session is another principal\'s')
  t.same(namesIn(await call(url, { key: env.OTHER })), [], 'a session that is new')
  await call(`${sidecar.proxyUrl}/more/mcp`, { key: dynamic })
  t.equal(bearerOf(one.seen.at(-1)), env.BOB, 'an upstream that is new, and a session that was made at run time lives on')
  t.match(sidecar.events.find((event) => event.event === 'reloaded'), { cause: 'config', upstreams: ['tools', 'more'], principals: 2 })
  t.match(await sidecar.metrics(), 'mcp_valet_streams{upstream="more"} 0')

  await to(`upstreams: { more: { url: "${one.origin}/mcp" } }\nprincipals: { bob: { credentials: { more: { type: api_token, token: { env: BOB } } } } }\n`)
  t.equal(errorCode(await call(url, { key: env.KEY })), 'ERR_NOT_FOUND', 'an upstream that is gone')
  t.equal(errorCode(await call(`${sidecar.proxyUrl}/more/mcp`, { key: env.KEY })), 'ERR_SESSION_UNKNOWN', 'a session that is gone')
  await eventually(() => sidecar.sessions.list().length === 0, 'the end of the sessions of a principal that is gone')
  t.equal(errorCode(await call(`${sidecar.proxyUrl}/more/mcp`, { key: dynamic })), 'ERR_SESSION_UNKNOWN')
})

t.test('row 52: a credential that stays the same keeps its token, and one that changes gets another', async (t) => {
  const issuer = await startOpaqueIssuer(t)
  const upstream = await startUpstream(t, guarded((token) => issuer.issued.includes(token)))
  const env = { RT: issuer.seed, KEY: mintSessionKey().reveal() }
  const yaml = (scope: string, more = ''): string => `${upstreams(upstream.origin, more)}principals: { alice: { credentials: { tools: { type: refresh_token, token_endpoint: "${issuer.endpoint}", client_id: agents, refresh_token: { env: RT }, scope: "${scope}" } } } }\n${session('KEY')}`
  const { sidecar, to } = await start(t, yaml('a'), env)
  const url = `${sidecar.proxyUrl}/tools/mcp`
  await call(url, { key: env.KEY })
  t.equal(issuer.issued.length, 1)
  await to(yaml('a', ', deadline: 10s'))
  t.equal((await call(url, { key: env.KEY })).status, 200)
  t.equal(issuer.issued.length, 1, 'nothing was asked of the issuer')
  await to(yaml('b'))
  t.equal((await call(url, { key: env.KEY })).status, 200)
  t.equal(issuer.reused, false)
})

t.test('row 52: calls and streams under way end under the config that they began with', async (t) => {
  const gate = door()
  const old = await startUpstream(t, (seen, response) => {
    if (seen.method === 'GET') return void response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n', () => { void gate.opened.then(() => response.end('data: 2\n\n')) })
    void gate.opened.then(() => answerJson(seen, response))
  })
  const next = await startUpstream(t)
  const env = { ALICE: freshToken(), KEY: mintSessionKey().reveal() }
  const { sidecar, to } = await start(t, upstreams(old.origin) + PRINCIPALS + session('KEY'), env)
  const url = `${sidecar.proxyUrl}/tools/mcp`
  const waiting = call(url, { key: env.KEY })
  const stream = await open(url, { method: 'GET', key: env.KEY }).head
  t.match(await piece(stream), 'data: 1')
  await eventually(() => old.seen.length === 2)
  await to(upstreams(next.origin) + PRINCIPALS + session('KEY'))
  t.equal((await call(url, { key: env.KEY })).status, 200)
  t.equal(next.seen.length, 1)
  gate.open()
  t.equal((await waiting).status, 200)
  t.match(await piece(stream), 'data: 2')
})

t.test('row 52: a session that a config takes away takes its open stream along', async (t) => {
  const upstream = await startUpstream(t, (_seen, response) => { response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n') })
  const env = { ALICE: freshToken(), KEY: mintSessionKey().reveal() }
  const { sidecar, to } = await start(t, upstreams(upstream.origin) + PRINCIPALS + session('KEY'), env)
  const stream = await open(`${sidecar.proxyUrl}/tools/mcp`, { method: 'GET', key: env.KEY }).head
  await piece(stream)
  const ended = new Promise((resolve) => stream.once('close', resolve))
  stream.on('error', () => {})
  await to(upstreams(upstream.origin) + PRINCIPALS)
  await ended
  t.pass('it has ended')
})

t.test('row 52: no call is lost while configs come and go', async (t) => {
  const upstream = await startUpstream(t)
  const env = { ALICE: freshToken(), KEY: mintSessionKey().reveal() }
  const yaml = (n: number): string => upstreams(upstream.origin, `, replays: ${n % 3}`) + PRINCIPALS + session('KEY')
  const { sidecar, to } = await start(t, yaml(0), env)
  const run = { over: false, calls: 0 }
  const statuses = new Set<number>()
  const callers = Array.from({ length: 10 }, async () => {
    while (!run.over) {
      statuses.add((await fetch(`${sidecar.proxyUrl}/tools/mcp`, { method: 'POST', headers: { 'x-session-key': env.KEY, 'content-type': 'application/json' }, body: rpc('tools/list') })).status)
      run.calls++
    }
  })
  for (let n = 1; n <= 20; n++) {
    await (n % 4 === 0 ? t.rejects(to('wrong: 1')) : to(yaml(n)))
    await sleep(10)
  }
  run.over = true
  await Promise.all(callers)
  t.same([...statuses], [200], `${run.calls} calls, 15 configs`)
})

t.test('row 52: a secret that has changed is taken up without the rest', async (t) => {
  let good = freshToken()
  const upstream = await startUpstream(t, guarded((token) => token === good))
  const [first, second] = [mintSessionKey().reveal(), mintSessionKey().reveal()]
  const dir = t.testdir({})
  const place = (name: string, value: string): string => {
    writeFileSync(join(dir, name), value, { mode: 0o600 })
    return join(dir, name)
  }
  const yaml = `${upstreams(upstream.origin)}principals: { alice: { credentials: { tools: { type: api_token, token: { file: ${place('token', good)} } } } } }
sessions: [{ principal: alice, agent: planner, key: { file: ${place('key', first)} } }]\n`
  const { sidecar } = await start(t, yaml, {})
  const url = `${sidecar.proxyUrl}/tools/mcp`
  t.equal((await call(url, { key: first })).status, 200)

  place('key', second)
  await sidecar.secretsChanged([`file ${join(dir, 'key')}`])
  t.equal(errorCode(await call(url, { key: first })), 'ERR_SESSION_UNKNOWN')
  t.equal((await call(url, { key: second })).status, 200)

  good = freshToken()
  place('token', good)
  await sidecar.secretsChanged([`file ${join(dir, 'token')}`])
  await call(url, { key: second })
  t.notOk(sidecar.events.some(({ event }) => event === 'rejected'), 'before the server has refused the old one')

  place('key', 'no key')
  await t.rejects(sidecar.secretsChanged([`file ${join(dir, 'key')}`]))
  t.match(sidecar.events.at(-1), { event: 'reload_refused', cause: 'secrets', reason: /not a session key/ })
  t.equal((await call(url, { key: second })).status, 200)
})

t.test('row 52: a session key that is no good keeps no other secret from being taken up, and is told', async (t) => {
  let good = freshToken()
  const upstream = await startUpstream(t, guarded((token) => token === good))
  const key = mintSessionKey().reveal()
  const dir = t.testdir({})
  const [keyFile, tokenFile] = [join(dir, 'key'), join(dir, 'token')]
  writeFileSync(keyFile, key, { mode: 0o600 })
  writeFileSync(tokenFile, good, { mode: 0o600 })
  const { sidecar } = await start(t, `${upstreams(upstream.origin)}principals: { alice: { credentials: { tools: { type: api_token, token: { file: ${tokenFile} } } } } }
sessions: [{ principal: alice, agent: planner, key: { file: ${keyFile} } }]\n`, {})
  const url = `${sidecar.proxyUrl}/tools/mcp`
  t.equal((await call(url, { key })).status, 200)

  good = freshToken()
  writeFileSync(keyFile, 'no key')
  writeFileSync(tokenFile, good)
  await t.rejects(sidecar.secretsChanged([`file ${keyFile}`, `file ${tokenFile}`]))
  t.match(sidecar.events.find(({ event }) => event === 'reload_refused'), { cause: 'secrets', reason: /not a session key/ })
  t.equal((await call(url, { key })).status, 200, 'under the key that there was')
  t.notOk(sidecar.events.some(({ event }) => event === 'rejected'), 'with the new token, before the server has refused the old one')
})

t.test('row 52: secrets that have changed are taken up side by side, though an issuer does not answer', async (t) => {
  const issuer = await startTokenServer(t, (_request, nth) => nth <= 3 ? { status: 400, body: { error: 'invalid_grant' } } : 'hang')
  const dir = t.testdir({})
  const names = ['a', 'b', 'c']
  const place = (name: string): string => {
    writeFileSync(join(dir, name), freshToken(), { mode: 0o600 })
    return `file ${join(dir, name)}`
  }
  const sources = names.map(place)
  // Nobody is given up, as no time passes.
  const sidecar = await startSidecar(t, `${upstreams('http://127.0.0.1:9')}principals:
${names.map((name) => `  ${name}: { credentials: { tools: { type: refresh_token, token_endpoint: "${issuer.endpoint}", client_id: c, refresh_token: { file: ${join(dir, name)} } } } }`).join('\n')}\n`, { clock: manualClock() })
  await eventually(() => sidecar.events.filter((event) => event.event === 'refresh' && event.outcome === 'revoked').length === 3)
  names.forEach(place)
  const done = sidecar.secretsChanged(sources)
  await eventually(() => issuer.requests.length === 6, 'a question for each')
  await sidecar.close()
  await done
})

t.test('row 52: session keys that are no good leave their sessions as they were, and the others are taken up; nobody gets the key of another', async (t) => {
  const upstream = await startUpstream(t)
  const dir = t.testdir({})
  const names = ['a', 'b', 'c', 'd']
  const keys = new Map(names.map((name) => [name, mintSessionKey().reveal()]))
  const place = (name: string, value: string): void => writeFileSync(join(dir, name), value, { mode: 0o600 })
  for (const [name, key] of keys) place(name, key)
  const principals = names.map((name) => `  ${name}: { credentials: { tools: { type: api_token, token: { env: T_${name} } } } }`).join('\n')
  const listed = names.map((name) => `  - { principal: ${name}, agent: of-${name}, key: { file: ${join(dir, name)} } }`).join('\n')
  const env = Object.fromEntries(names.map((name) => [`T_${name}`, freshToken()]))
  const { sidecar } = await start(t, `${upstreams(upstream.origin)}principals:\n${principals}\nsessions:\n${listed}\n`, env)
  const whose = async (key: string): Promise<string | undefined> => {
    const before = upstream.seen.length
    await call(`${sidecar.proxyUrl}/tools/mcp`, { key })
    const shown = upstream.seen[before]?.headers.authorization
    return names.find((name) => shown === `Bearer ${String(env[`T_${name}`])}`)
  }
  const of = (name: string): string => keys.get(name) as string
  const changed = async (): Promise<string> => {
    await sidecar.secretsChanged(names.map((name) => `file ${join(dir, name)}`)).catch(() => {})
    const told = sidecar.events.filter((event) => event.event === 'reload_refused').at(-1)
    return told?.event === 'reload_refused' ? told.reason : ''
  }

  const next = mintSessionKey().reveal()
  place('a', 'no key')
  place('b', next)
  place('c', '')
  const reason = await changed()
  t.match(reason, new RegExp(`line \\d+: sessions\\[0\\]\\.key: file ${join(dir, 'a')} holds what is not a session key`))
  t.match(reason, new RegExp(`line \\d+: sessions\\[2\\]\\.key: file ${join(dir, 'c')} is empty`))
  t.notMatch(reason, /sessions\[1\]/)
  t.same([await whose(of('a')), await whose(next), await whose(of('b')), await whose(of('c'))], ['a', 'b', undefined, 'c'])

  // One that an agent holds already, before and behind it in the list.
  place('a', of('d'))
  place('c', of('d'))
  t.match(await changed(), /sessions\[2\]\.key: .* already in use, by sessions\[0\].*sessions\[3\]\.key: .* already in use, by sessions\[0\]/)
  t.same([await whose(of('a')), await whose(of('c')), await whose(of('d'))], ['a', 'c', 'd'])
  // And one that its holder keeps for having been given none that is good.
  place('a', mintSessionKey().reveal())
  place('c', of('d'))
  place('d', 'none')
  await changed()
  t.same([await whose(of('c')), await whose(of('d'))], ['c', 'd'])
})

t.test('row 52: serve takes up its files when they change, and on SIGHUP', async (t) => {
  const upstream = await startUpstream(t)
  const dir = t.testdir({})
  const [config, key] = [join(dir, 'valet.yaml'), join(dir, 'key')]
  const write = (more: string): void => writeFileSync(config, `${LISTEN}${upstreams(upstream.origin)}${PRINCIPALS}sessions: [{ principal: alice, agent: planner, key: { file: ${key} } }]\n${more}`)
  const [first, second] = [mintSessionKey().reveal(), mintSessionKey().reveal()]
  writeFileSync(key, first, { mode: 0o600 })
  write('')
  const valet = await serveProcess(t, config, { ALICE: freshToken() })
  const status = async (shown: string): Promise<number> => (await call(`${valet.proxy}/tools/mcp`, { key: shown })).status
  const next = async (event: string): Promise<Record<string, unknown>> => {
    const from = valet.lines.length
    return await valet.until((line) => line.event === event && valet.lines.indexOf(line) >= from)
  }
  t.equal(await status(first), 200)
  let told = next('reload_refused')
  write('wrong: 1\n')
  t.match(await told, { level: 'error', cause: 'config', reason: /wrong/ })
  t.equal(await status(first), 200)
  told = next('reloaded')
  write('# better\n')
  t.match(await told, { level: 'info', cause: 'config' })
  told = next('reloaded')
  writeFileSync(key, second, { mode: 0o600 })
  t.match(await told, { cause: 'secrets' })
  t.equal(await status(first), 401)
  t.equal(await status(second), 200)
  told = next('reloaded')
  const before = valet.lines.length
  valet.child.kill('SIGHUP')
  t.match(await told, { cause: 'config' })
  t.equal(await status(second), 200)
  const again = await valet.until((line) => line.event === 'reloaded' && line.cause === 'secrets' && valet.lines.indexOf(line) >= before)
  t.equal(again.msg, 'has read its secrets again, under the config that it has', 'none of which has changed')
})

t.test('row 52: a SIGHUP that comes while it starts waits until it has', async (t) => {
  const upstream = await startUpstream(t)
  const dir = t.testdir({})
  const [config, key, hungUp] = [join(dir, 'valet.yaml'), mintSessionKey().reveal(), join(dir, 'hung-up')]
  const command = JSON.stringify(['sh', '-c', `[ -e ${hungUp} ] || { touch ${hungUp}; kill -HUP $PPID; }; echo ${key}`])
  writeFileSync(config, `${LISTEN}${upstreams(upstream.origin)}${PRINCIPALS}sessions: [{ principal: alice, agent: planner, key: { command: ${command} } }]\n`)
  const valet = await serveProcess(t, config, { ALICE: freshToken() })
  t.match(await valet.until(({ event }) => event === 'reloaded'), { cause: 'config' })
  t.equal((await call(`${valet.proxy}/tools/mcp`, { key })).status, 200)
})

t.test('row 52: no config makes applications anew, and a stream keeps but the config that it began under', async (t) => {
  const used: Array<WeakRef<object>> = []
  const { open: openDispatcher } = UpstreamDispatcher.prototype
  t.teardown(() => { UpstreamDispatcher.prototype.open = openDispatcher })
  UpstreamDispatcher.prototype.open = async function () {
    used.push(new WeakRef(this))
    return await openDispatcher.call(this)
  }
  let applications = 0
  const count = (): void => { applications++ }
  subscribe('fastify.initialization', count)
  t.teardown(() => { unsubscribe('fastify.initialization', count) })
  const upstream = await startUpstream(t, (_seen, response) => { response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': hello\n\n') })
  const KEY = mintSessionKey().reveal()
  const text = upstreams(upstream.origin) + PRINCIPALS + session('KEY')
  const { sidecar, to } = await start(t, text, { ALICE: freshToken(), KEY })
  const stream = open(`${sidecar.proxyUrl}/tools/mcp`, { key: KEY, method: 'GET' })
  await stream.head
  t.equal(applications, 2, 'the agents\' and the admin listener\'s')
  for (let i = 0; i < 3; i++) await to(text)
  t.equal(applications, 2)
  t.equal(used.length, 4)
  setFlagsFromString('--expose_gc')
  const collect = runInNewContext('gc') as () => void
  const alive = (): boolean[] => used.map((dispatcher) => dispatcher.deref() !== undefined)
  // A reference that was followed holds until the end of the turn.
  for (let i = 0; i < 20 && alive().filter(Boolean).length > 2; i++) {
    await sleep(20)
    collect()
  }
  t.same(alive(), [true, false, false, true], 'the stream\'s and that of the moment')
  stream.request.destroy()
})
