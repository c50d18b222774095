import t from 'tap'
import { differences, failsDirectly, shortfalls, tally, type Check, type Result } from '../conformance/compare.js'
import { chosen, readOptions } from '../conformance/options.js'
import { markdown, objections, type Found } from '../conformance/report.js'

const check = (id: string, status = 'SUCCESS', more: Partial<Check> = {}): Check => ({ id, status, ...more })
const result = (direct: Check[], through: Check[], more: Partial<Result> = {}): Result =>
  ({ spec: '2025-11-25', release: '1.0.0', scenario: 'ping', direct, through, again: false, ...more })
const found: Found = { refreshes: 3, failed: 0, replays: 2, policy: [], complete: true }

t.test('sides with the same checks do not differ, in whatever order they come', async (t) => {
  t.same(differences(result([check('a'), check('b', 'INFO')], [check('b', 'INFO'), check('a')])), [])
})

t.test('another status, or a check that one side alone has, is a difference', async (t) => {
  const direct = [check('a'), check('b'), check('c', 'INFO')]
  const through = [check('a', 'WARNING', { errorMessage: 'slow' }), check('b'), check('d')]
  t.same(differences(result(direct, through)), [
    { check: 'a', direct: 'SUCCESS', through: 'WARNING', why: 'slow' },
    { check: 'c', direct: 'INFO', through: 'not there', why: '' },
    { check: 'd', direct: 'not there', through: 'SUCCESS', why: '' },
  ])
})

t.test('a check that comes several times is compared turn by turn', async (t) => {
  const twice = (second: string): Check[] => [check('a', 'SUCCESS', { name: 'A' }), check('a', second, { name: 'A' })]
  t.same(differences(result(twice('SUCCESS'), twice('FAILURE'))), [{ check: 'a (A) #2', direct: 'SUCCESS', through: 'FAILURE', why: '' }])
  t.match(differences(result(twice('SUCCESS'), twice('SUCCESS').slice(1))), [{ check: 'a (A) #2', through: 'not there' }])
})

t.test('only what judges is counted', async (t) => {
  const checks = [check('a'), check('b', 'WARNING'), check('c', 'FAILURE'), check('d', 'INFO'), check('e', 'SKIPPED')]
  t.equal(tally(checks), '1/3')
  t.same(shortfalls(checks).map(({ id }) => id), ['b', 'c'])
  t.ok(failsDirectly({ direct: checks }))
  t.notOk(failsDirectly({ direct: checks.filter(({ status }) => status !== 'FAILURE') }))
  t.ok(failsDirectly({ direct: [] }), 'no check at all shows nothing')
})

t.test('a run that shows what it should has nothing against it', async (t) => {
  t.same(objections([result([check('a', 'WARNING')], [check('a', 'WARNING')])], found), [])
})

t.test('each reason to fail is said', async (t) => {
  t.match(objections([result([check('a')], [check('a', 'FAILURE', { errorMessage: 'no' })])], found), ['2025-11-25 1.0.0 ping: a: SUCCESS directly, FAILURE through mcp-valet: no'])
  const fails = [check('a', 'FAILURE', { errorMessage: 'no' }), check('b', 'WARNING')]
  t.match(objections([result(fails, fails)], found), ['2025-11-25 1.0.0 ping: the server fails directly: a: no; b'])
  t.match(objections([result([], [])], found), [/no check at all/])
  t.same(objections([], { ...found, policy: ['it can be called'] }), ['it can be called'])
  t.match(objections([], { ...found, replays: 0 }), ['nothing was shown: 3 refreshes and 0 replays'])
  t.match(objections([], { ...found, refreshes: 0 }), [/nothing was shown/])
  t.same(objections([], { ...found, replays: 0, complete: false }), [], 'a few scenarios may be over before a token dies')
})

t.test('the page has a table for each version and a row for each scenario', async (t) => {
  const page = markdown([
    result([check('a')], [check('a')]),
    result([check('a'), check('b')], [check('a'), check('b')], { release: '2.0.0' }),
    result([check('a', 'WARNING')], [check('a', 'WARNING')], { release: '2.0.0', scenario: 'resume' }),
    result([check('a')], [check('a')], { spec: '2026-07-28', release: '2.0.0', scenario: 'ask' }),
  ], found)
  t.match(page, '1.0.0 and 2.0.0')
  t.match(page, '### MCP 2025-11-25\n\n| scenario | 1.0.0: direct | through mcp-valet | 2.0.0: direct | through mcp-valet |\n| --- | --- | --- | --- | --- |\n| `ping` | 1/1 | 1/1 | 2/2 | 2/2 |\n| `resume` | – | – | 0/1 | 0/1 |\n')
  t.match(page, '### MCP 2026-07-28\n\n| scenario | 2.0.0: direct | through mcp-valet |\n| --- | --- | --- |\n| `ask` | 1/1 | 1/1 |\n')
  t.match(page, '- 2025-11-25 2.0.0 resume: `a` (WARNING)')
  t.match(page, '3 tokens were refreshed and 2 calls replayed')
  t.notMatch(markdown([result([check('a')], [check('a')])], found), /does not pass|once more/)
  t.match(markdown([result([check('a')], [check('a')], { again: true })], found), 'not equal: 2025-11-25 1.0.0 ping.')
})

t.test('options', async (t) => {
  t.same(readOptions([]), { only: [], write: false })
  t.same(readOptions(['--only', 'ping, 2026-07-28']), { only: ['ping', '2026-07-28'], write: false })
  t.equal(readOptions(['--write'])?.write, true)
  t.equal(readOptions(['--help']), undefined)
  t.throws(() => readOptions(['--write', '--only', 'ping']), /leave --only out/)
  t.throws(() => readOptions(['--fast']), /fast/)
})

t.test('--only names scenarios, versions or both', async (t) => {
  const all = [{ spec: 'v1', scenario: 'ping' }, { spec: 'v1', scenario: 'list' }, { spec: 'v2', scenario: 'list' }]
  t.same(chosen(all, []), all)
  t.same(chosen(all, ['list']), all.slice(1))
  t.same(chosen(all, ['v1']), all.slice(0, 2))
  t.same(chosen(all, ['v2', 'list']), all.slice(2))
  t.throws(() => chosen(all, ['lost']), /no scenario and no version "lost"/)
  t.throws(() => chosen(all, ['v2', 'ping']), /no scenario is left/)
})
