import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import type { Bound } from '../../bench/soak/bounds.js'
import { CALL_FAULTS } from '../../bench/soak/faults.js'
import { readOptions } from '../../bench/soak/options.js'
import type { Results } from '../../bench/soak/results.js'
import { TYPESCRIPT } from '../helpers/typescript.js'

const RUN = fileURLToPath(new URL('../../bench/soak/run.ts', import.meta.url))
/** Longer in a check that has the time; memory and descriptors are judged from ten minutes on. */
const MINUTES = Number(process.env.MCP_VALET_SOAK_MINUTES ?? 0.4)
/** A load of its own for a minute or two, on a machine that should do nothing else meanwhile. */
const skip = process.platform !== 'linux' ? 'it reads /proc' : process.env.MCP_VALET_SOAK_MINUTES === undefined ? 'set MCP_VALET_SOAK_MINUTES (0.4 is enough) to run it' : false

interface Run { readonly code: number | null, readonly text: string, readonly errors: string, readonly results: (Results & { readonly bounds: readonly Bound[] }) | undefined }

/** Runs it as `npm run soak` does. @param onStarted called once it says that it has begun, with what sends it a signal */
async function soak (t: Test, args: readonly string[], onStarted: (kill: () => void) => void = () => {}): Promise<Run> {
  const dir = mkdtempSync(join(tmpdir(), 'mcp-valet-soak-test-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  const json = join(dir, 'results.json')
  const child = spawn(process.execPath, [TYPESCRIPT, RUN, '--json', json, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
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

t.test('a failure that nobody has declared fails the run, which tells it when it is ended early, too', { skip, timeout: 150_000 }, async (t) => {
  const hidden = [...CALL_FAULTS, 'issuer_revoked'].join(',')
  const { code, text, errors, results } = await soak(t, ['--minutes', '1', '--hide', hidden], (kill) => { setTimeout(kill, 20_000) })
  t.equal(code, 1, errors)
  t.match(text, /ended early: SIGINT/)
  t.equal(results?.early, 'SIGINT')
  t.match(text, /^FAILED +failures other than those that were made: 0/m)
  t.match(text, /^not judged +memory/m)
  t.ok((results?.ledger.oursTotal ?? 0) > 0)
  t.match(errors, /^a failure of ours: /m, 'it is told when it happens')
  t.ok((results?.ledger.examples.length ?? 0) > 0, 'and again in the end')
})

t.test('says what it can do, and what makes no sense', async (t) => {
  const help = await soak(t, ['--help'])
  t.equal(help.code, 0)
  t.match(help.text, '--minutes N')
  const wrong = await soak(t, ['--minutes', '0'])
  t.equal(wrong.code, 2)
  t.match(wrong.errors, '--help')
  t.equal(readOptions(['--help']), undefined)
  t.match(readOptions(['--minutes', '0.5', '--hide', 'cut, reset']), { minutes: 0.5, hide: ['cut', 'reset'] })
  for (const args of [['--minutes', 'x'], ['--minutes', '20000'], ['--agents', '0'], ['--hide', 'weather'], ['--nonsense']]) t.throws(() => readOptions(args), { name: /Error/ }, args.join(' '))
})
