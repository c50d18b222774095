import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import type { Bound } from '../../bench/soak/bounds.js'
import { CALL_FAULTS } from '../../bench/soak/faults.js'
import type { Results } from '../../bench/soak/results.js'

const RUN = fileURLToPath(new URL('../../bench/soak/run.ts', import.meta.url))
/** Longer in a check that has the time; memory and descriptors are judged from ten minutes on. */
const MINUTES = Number(process.env.MCP_VALET_SOAK_MINUTES ?? 0.4)
const skip = process.platform === 'linux' ? false : 'it reads /proc'

interface Run { readonly code: number | null, readonly text: string, readonly errors: string, readonly results: (Results & { readonly bounds: readonly Bound[] }) | undefined }

/** Runs it as `npm run soak` does. @param onStarted called once it says that it has begun, with what sends it a signal */
async function soak (t: Test, args: readonly string[], onStarted: (kill: () => void) => void = () => {}): Promise<Run> {
  const dir = mkdtempSync(join(tmpdir(), 'mcp-valet-soak-test-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  const json = join(dir, 'results.json')
  const child = spawn(process.execPath, ['--import', 'tsimp/import', RUN, '--json', json, ...args], { env: { ...process.env, TSIMP_DIAG: 'ignore' }, stdio: ['ignore', 'pipe', 'pipe'] })
  t.teardown(() => child.kill('SIGTERM'))
  let text = ''
  let errors = ''
  child.stdout.on('data', (chunk) => { text += String(chunk) })
  child.stderr.on('data', (chunk) => {
    const before = errors
    errors += String(chunk)
    if (/^soaking/m.test(errors) && !/^soaking/m.test(before)) onStarted(() => { child.kill('SIGINT') })
  })
  const [code] = await once(child, 'close') as [number | null]
  const results = code === 0 || code === 1 ? tryRead(json) : undefined
  return { code, text, errors, results }
}

function tryRead (file: string): Run['results'] {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Run['results']
  } catch {
    return undefined
  }
}

t.test('row 54: agents, streams and sessions under tokens of ten seconds see no failure but those that were made', { skip, timeout: MINUTES * 60_000 + 150_000 }, async (t) => {
  const { code, text, errors, results } = await soak(t, ['--minutes', String(MINUTES)])
  t.comment(text)
  if (results === undefined) return t.fail(errors)
  t.equal(code, 0, errors)
  t.strictSame(results.ledger.ours, {}, results.ledger.examples.join('\n'))
  t.ok(results.ledger.calls > 100, 'agents called')
  t.ok(results.ledger.injectedTotal > 0, 'some were made to fail')
  t.ok(Object.values(results.refreshes).reduce((sum, count) => sum + count, 0) > 6, 'every principal\'s token was renewed')
  t.ok((results.replays['401 mended'] ?? 0) > 0, 'calls were replayed')
  t.ok(results.counted.counted > 0 && results.visits.sessions > 0, 'streams were counted to their end, and sessions came and went')
  t.ok(results.disturbances.reloads > 0, 'the config was reloaded')
  t.type(results.silent.heardAfter, 'number', 'the silent stream lives')
  t.equal(results.exitCode, 0, 'the sidecar ended in good order')
  t.ok(results.bounds.every(({ verdict }) => verdict !== 'FAILED'))
  for (const section of ['failures of ours', 'medians of thirds', 'RssAnon', 'live heap', 'faults made']) t.match(text, section)
})

t.test('a failure that nobody has declared fails the run', { skip, timeout: 180_000 }, async (t) => {
  const { code, text, errors, results } = await soak(t, ['--minutes', '0.3', '--hide', [...CALL_FAULTS, 'issuer_revoked'].join(',')])
  t.equal(code, 1, errors)
  t.match(text, /^FAILED +failures other than those that were made: 0/m)
  t.ok((results?.ledger.oursTotal ?? 0) > 0)
  t.ok((results?.ledger.examples.length ?? 0) > 0, 'each kind is told with examples')
  t.equal(results?.bounds.filter(({ verdict }) => verdict === 'FAILED').length, 1, 'and nothing else has failed')
})

t.test('an early end has its report', { skip, timeout: 180_000 }, async (t) => {
  const { code, text, errors, results } = await soak(t, ['--minutes', '30'], (kill) => { setTimeout(kill, 4_000) })
  t.equal(code, 0, errors)
  t.match(text, /ended early: SIGINT/)
  t.equal(results?.early, 'SIGINT')
  t.match(text, /not judged +memory/)
})

t.test('says what it can do, and what makes no sense', async (t) => {
  const help = await soak(t, ['--help'])
  t.equal(help.code, 0)
  t.match(help.text, '--minutes N')
  for (const args of [['--minutes', '0'], ['--minutes', 'x'], ['--agents', '-1'], ['--hide', 'weather'], ['--nonsense']]) {
    const { code, errors } = await soak(t, args)
    t.equal(code, 2, args.join(' '))
    t.match(errors, '--help')
  }
})
