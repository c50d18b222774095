import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { mintSessionKey } from '../../src/caller/session-key.js'
import { createIssuer, type Issuer, type TokenHook } from '../../src/demo/issuer.js'
import { call, errorCode, type CallAnswer } from '../helpers/call.js'
import { gate } from '../helpers/tokens.js'
import { startUpstream } from '../helpers/upstream.js'

/** What users run; `npm test` has just built it. From the sources each start would take seconds. */
const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url))

interface Line { event: string, outcome?: string, proxy?: string }

interface Serving {
  /** Resolves with the first line of the log, past or to come, that fits. */
  until (fits: (line: Line) => boolean): Promise<Line>
  call (): Promise<CallAnswer>
  kill (): Promise<void>
  output (): string
}

/** Runs `mcp-valet serve` as a process of its own. */
async function serve (t: Test, config: string, env: NodeJS.ProcessEnv): Promise<Serving> {
  const child: ChildProcess = spawn(process.execPath, [CLI, 'serve', '-c', config], { env: { PATH: process.env.PATH, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  const ended = once(child, 'exit')
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL')
    await ended
  }
  t.teardown(kill)
  const lines: Line[] = []
  let wake = (): void => {}
  let text = ''
  child.stderr?.on('data', (chunk: Buffer) => { text += String(chunk) })
  createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
    text += line + '\n'
    if (line.startsWith('{')) lines.push(JSON.parse(line) as Line)
    wake()
  })
  const until = async (fits: (line: Line) => boolean): Promise<Line> => {
    for (;;) {
      const line = lines.find(fits)
      if (line !== undefined) return line
      if (child.exitCode !== null) throw new Error(`it has ended: ${text}`)
      await Promise.race([new Promise<void>((resolve) => { wake = resolve }), ended])
    }
  }
  const { proxy } = await until(({ event }) => event === 'listening')
  return { until, kill, output: () => text, call: async () => await call(`${proxy}/tools/mcp`, { key: env.SESSION_KEY as string }) }
}

/** An issuer whose next token request can be met by a hook, an upstream, and a config with its state in a folder of the test. */
async function scene (t: Test, graceSeconds = 0): Promise<{ issuer: Issuer, hook: { next: TokenHook | undefined }, start: () => Promise<Serving> }> {
  const hook: { next: TokenHook | undefined } = { next: undefined }
  const upstream = await startUpstream(t)
  const issuer = await createIssuer({
    audience: `${upstream.origin}/mcp`,
    lifetime: 3600,
    graceSeconds,
    onTokenRequest: async (params, next) => await hook.next?.(params, next),
  })
  t.teardown(issuer.close)
  const { refresh_token: RT } = await issuer.login('alice')
  const env = { RT, SESSION_KEY: mintSessionKey().reveal() }
  const folder = t.testdir()
  const config = join(folder, 'valet.yaml')
  writeFileSync(config, `
listen: 127.0.0.1:0
admin: { listen: 127.0.0.1:0 }
state: { driver: lmdb, path: "${folder}/state" }
upstreams: { tools: { url: "${upstream.origin}/mcp" } }
principals: { alice: { credentials: { tools: { type: refresh_token, token_endpoint: "${issuer.tokenEndpoint}", client_id: demo, refresh_token: { env: RT } } } } }
sessions: [{ principal: alice, agent: tester, key: { env: SESSION_KEY } }]
`)
  return { issuer, hook, start: async () => await serve(t, config, env) }
}

const ok = ({ event, outcome }: Line): boolean => event === 'refresh' && outcome === 'ok'

t.test('row 10: killed before the issuer has seen the refresh token, it uses it after the restart', async (t) => {
  const { issuer, hook, start } = await scene(t)
  const arrived = gate()
  hook.next = async () => { arrived.open(); return await new Promise(() => {}) }
  const first = await start()
  await arrived.opened
  await first.kill()
  hook.next = undefined
  const second = await start()
  t.equal((await second.call()).status, 200)
  t.equal(issuer.families.revoked, 0)
})

t.test('row 10: killed after the rotation and before the answer, it says that the grant is revoked', async (t) => {
  const { hook, start } = await scene(t)
  const rotated = gate()
  hook.next = async (_params, next) => { await next(); rotated.open(); return await new Promise(() => {}) }
  const first = await start()
  await rotated.opened
  await first.kill()
  hook.next = undefined
  const second = await start()
  await second.until(({ event, outcome }) => event === 'refresh' && outcome === 'revoked')
  t.equal(errorCode(await second.call()), 'ERR_CREDENTIAL_REVOKED')
})

t.test('row 10: killed after the rotation and before the answer, it recovers where the issuer has a grace period', async (t) => {
  const { issuer, hook, start } = await scene(t, 600)
  const rotated = gate()
  hook.next = async (_params, next) => { await next(); rotated.open(); return await new Promise(() => {}) }
  const first = await start()
  await rotated.opened
  await first.kill()
  hook.next = undefined
  const second = await start()
  t.equal((await second.call()).status, 200)
  t.equal(issuer.families.revoked, 0)
})

t.test('row 10: killed right after it has the new pair, it has it after the restart', async (t) => {
  const { issuer, start } = await scene(t)
  const first = await start()
  await first.until(ok)
  await first.kill()
  const second = await start()
  t.equal((await second.call()).status, 200)
  t.equal(issuer.requests.refresh_token.ok, 1, 'without another request')
  t.notMatch(first.output() + second.output(), /rt_|eyJ/)
})

t.test('row 10: killed while the answer is on its way, it recovers or says revoked', async (t) => {
  const { issuer, hook, start } = await scene(t, 600)
  const answered = gate()
  hook.next = async (_params, next) => { const answer = await next(); setImmediate(() => answered.open()); return answer }
  const first = await start()
  await answered.opened
  await first.kill()
  hook.next = undefined
  const second = await start()
  const answer = await second.call()
  t.ok(answer.status === 200 || errorCode(answer) === 'ERR_CREDENTIAL_REVOKED', `${answer.status}`)
  t.equal(issuer.families.revoked, 0)
})
