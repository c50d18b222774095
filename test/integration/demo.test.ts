import { readdirSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import t from 'tap'
import { advice, runDemo, type DemoOptions } from '../../src/demo/demo.js'
import { listen, shut } from '../../src/demo/http.js'

const ports = { proxy: 0, admin: 0 }
// Its own, as other tests run demos beside this one.
process.env.TMPDIR = t.testdir({})

async function run (options: Partial<DemoOptions> = {}) {
  let text = ''
  const write = (part: string) => { text += part; waiting?.() }
  let waiting: (() => void) | undefined
  const until = async (pattern: RegExp) => {
    while (!pattern.test(text)) await new Promise<void>((resolve) => { waiting = resolve })
  }
  const exit = runDemo({ once: true, ports, env: {}, tty: false, write, ...options })
  return { exit, until, text: () => text }
}

function folders (): string[] {
  return readdirSync(tmpdir()).filter((name) => name.startsWith('mcp-valet-demo-'))
}

t.test('--once shows a call, a refresh and a replay, and ends with 0', async (t) => {
  const before = folders()
  const demo = await run()
  t.equal(await demo.exit, 0, demo.text())
  const text = demo.text()
  t.match(text, /session key +vk_\w{4}…/)
  t.notMatch(text, /vk_[\w-]{10}/, 'the key is masked')
  t.notMatch(text, /eyJ|rt_/, 'no token')
  const [, old, fresh] = /<(\w{8})> → <(\w{8})>/.exec(text) ?? []
  t.ok(old !== undefined && fresh !== undefined && old !== fresh)
  t.match(text, /Authorization +Bearer <\w{8}>/)
  t.match(text, /overhead +[\d.]+ (µs|ms) a call/)
  t.same(folders(), before, 'its folder is gone')
})

t.test('it stays up, tells of each refresh, and ends on the signal', async (t) => {
  const stop = new AbortController()
  const demo = await run({ once: false, tty: true, signal: stop.signal })
  await demo.until(/Ctrl-C/)
  const [json = ''] = /^\{\n[\s\S]*?^\}/m.exec(demo.text()) ?? []
  const { url, headers } = JSON.parse(json).mcpServers.demo
  const [, admin = ''] = /(http:\S+)\/healthz/.exec(demo.text()) ?? []
  t.equal((await fetch(`${admin}/healthz`)).status, 200)

  const [, curlBody = ''] = /-d '([^']+)'/.exec(demo.text()) ?? []
  const curlHeaders = [...demo.text().matchAll(/-H '([^:]+): ([^']+)'/g)].map(([, name = '', value = '']) => [name, value] as [string, string])
  const pasted = await fetch(url, { method: 'POST', headers: curlHeaders, body: curlBody })
  t.match(await pasted.text(), /alice/, 'the curl line works')
  t.match(headers, { 'X-Session-Key': /^vk_/ })

  await demo.until(/refresh \(ahead\).*→/)
  stop.abort()
  t.equal(await demo.exit, 0)
  await t.rejects(fetch(`${admin}/healthz`))
})

t.test('a port that is taken is replaced by a free one', async (t) => {
  const other = createServer()
  const port = Number(new URL(await listen(other, { host: '127.0.0.1', port: 0 })).port)
  t.teardown(async () => await shut(other))
  const demo = await run({ ports: { proxy: port, admin: 0 } })
  t.equal(await demo.exit, 0, demo.text())
  t.notMatch(demo.text(), `:${port}/`)
})

t.test('a signal that came early ends it after the calls', async (t) => {
  const demo = await run({ once: false, signal: AbortSignal.abort() })
  t.equal(await demo.exit, 0)
})

t.test('what fails is said in one sentence', async (t) => {
  const { TMPDIR } = process.env
  t.teardown(() => { TMPDIR === undefined ? delete process.env.TMPDIR : process.env.TMPDIR = TMPDIR })
  process.env.TMPDIR = t.testdir() + '/none'
  const demo = await run()
  t.equal(await demo.exit, 1)
  t.match(demo.text(), /The demo failed: ENOENT.*\. Run it again/)
})

t.test('a missing SDK is said to be one', async (t) => {
  const missing = Object.assign(new Error("Cannot find package '@modelcontextprotocol/client'"), { code: 'ERR_MODULE_NOT_FOUND' })
  t.match(advice(missing), /needs the optional packages: npm i @modelcontextprotocol\/client/)
  t.match(advice(Object.assign(new Error("Cannot find package 'other'"), { code: 'ERR_MODULE_NOT_FOUND' })), /The demo failed/)
})
