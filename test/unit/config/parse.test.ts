import t from 'tap'
import { ConfigError } from '../../../src/config/problem.js'
import { complaints, load, problemsOf, yaml } from './helpers.js'

const CANARY = 'canary5f2a'

t.test('an empty config says what the least one is', async (t) => {
  for (const text of ['', ' \n', '# a comment\n', '---\n', 'null', '~', '\ufeff']) {
    const problems = complaints(text)
    t.match(problems, [/^: the config is empty; the least one is: /], JSON.stringify(text))
    const least = problems[0]?.split('the least one is: ')[1] as string
    t.equal(load(least).upstreams.size, 1, 'which works')
  }
})

t.test('JSON is YAML', async (t) => {
  t.equal(load(JSON.stringify({ $schema: './valet.schema.json', upstreams: { a: { url: 'http://localhost' } } })).upstreams.size, 1)
})

t.test('anchors and aliases work', async (t) => {
  const config = load('upstreams:\n  a: { url: http://localhost, deadline: &d 9s }\n  b: { url: http://localhost, deadline: *d }')
  t.equal(config.upstreams.get('b')?.deadlineMs, 9_000)
  t.equal(load('upstreams: !!map { a: { url: !!str http://localhost, replays: !!int 3 } }').upstreams.get('a')?.replays, 3, 'tags that change nothing do, too')
})

t.test('syntax errors have a line, a sentence of our own, and nothing of the text', async (t) => {
  const cases: Array<[string, number, RegExp]> = [
    [`a: 1\nb: *${CANARY}`, 2, /alias .* does not lead anywhere/],
    [`a: "\\q${CANARY}"`, 1, /unknown escape/],
    [`a:\n  b: 1\n c: ${CANARY}`, 3, /./],
    [`a: @${CANARY}`, 1, /needs quotes/],
    [`a: b: ${CANARY}`, 1, /not expected here: check the indentation/],
    [`a: [${CANARY}`, 1, /a bracket is not closed/],
    [`a: & ${CANARY}`, 1, /not complete/],
    [`a: !!set { ${CANARY} }`, 1, /tags/],
    [`a: !!binary ${CANARY}`, 1, /tags/],
    [`a: !!omap [${CANARY}: 1]`, 1, /tags/],
    [`a: "${CANARY}`, 1, /is missing/],
    [`a: 1\n${CANARY}\nb: 2`, 2, /key must stand on one line|is missing/],
    [`? [${CANARY}]\n: 1`, 1, /a key must be a text/],
    [`a:\n\tb: ${CANARY}`, 2, /tabs cannot indent/],
    [`a: !${CANARY} b`, 1, /tags/],
    ['a: 2027-01-01\nb: !!timestamp 2027-01-01', 2, /tags/],
    [`a: ${CANARY}\n} b`, 2, /./],
    [`%YAML 9.9 ${CANARY}\n---\na: 1`, 1, /./],
    [`a: 1\n${CANARY}: 2\n${CANARY}: 3`, 3, /^this key is there twice$/],
    [`a: { b: 1, c: 2, b: ${CANARY} }`, 1, /^this key is there twice$/],
    [`a: 1\n---\nb: ${CANARY}`, 2, /one YAML document only/],
  ]
  for (const [text, line, sentence] of cases) {
    const problems = problemsOf(text)
    t.ok(problems.some((problem) => problem.line === line && sentence.test(problem.message)), `${JSON.stringify(text)}: ${JSON.stringify(problems)}`.replaceAll(CANARY, '…'))
    t.notMatch(JSON.stringify(problems), CANARY)
  }
})

t.test('keys that YAML does not read as text are names all the same', async (t) => {
  t.strictSame(problemsOf('upstreams:\n  1:\n    url: ftp://x\n').map(({ path, line }) => [path, line]), [['upstreams.1.url', 3]])
  t.strictSame(problemsOf('upstreams:\n  : { url: http://localhost }\n').map(({ path, line }) => [path, line]), [['upstreams[""]', 2]])
})

t.test('a hostile file is refused, and quickly', async (t) => {
  const n = 1024 * 1024
  const bomb = ['a0: &a0 [x, x, x, x, x, x, x, x, x]', ...Array.from({ length: 20 }, (_, i) => `a${i + 1}: &a${i + 1} [${Array(9).fill(`*a${i}`).join(', ')}]`)].join('\n')
  const cases: Record<string, string> = {
    'brackets within brackets': '['.repeat(n - 1),
    'maps within maps': '{a: '.repeat(n / 4),
    'lists within lists': '- '.repeat(n / 2 - 1),
    'keys within keys': '? '.repeat(n / 2 - 1),
    'a few thousand brackets within brackets': '['.repeat(5_000),
    'deep indentation': Array.from({ length: 1_400 }, (_, i) => `${' '.repeat(i)}a:`).join('\n'),
    'deep within a valid config': yaml({ credential: `{ type: json_refresh, url: "https://h", body: ${'['.repeat(1_000)}${']'.repeat(1_000)} }` }),
    'alias bomb': bomb,
    'many aliases': `a: &a x\nb: [${'*a, '.repeat(2_000)}]`,
    'few aliases of something big': `a: &a [${'1, '.repeat(20_000)}]\nb: [${'*a, '.repeat(50)}]`,
    'an alias that leads to itself': 'upstreams: &a { tools: *a }',
    'aliases that add up in depth': ['a0: &a0 [x]', ...Array.from({ length: 70 }, (_, i) => `a${i + 1}: &a${i + 1} [*a${i}]`)].join('\n'),
    'many keys': Array.from({ length: 60_000 }, (_, i) => `k${i}: 1`).join('\n'),
    'many bad upstreams': `upstreams:\n${Array.from({ length: 12_000 }, (_, i) => `  u${i}: { url: ftp://x, x: 1, tools: 1 }`).join('\n')}`,
    'many values': `a: [${'1,'.repeat(n / 2 - 10)}]`,
    'too large': 'é'.repeat(n / 2 + 1),
    'one long key': `${'k'.repeat(n / 2)}: 1`,
    'one long text': `listen: ${'x'.repeat(n - 100)}`,
    binary: '\0\u0001\ufffd'.repeat(1_000),
  }
  for (const [name, text] of Object.entries(cases)) {
    const started = Date.now()
    t.throws(() => load(text), ConfigError, name)
    // Refused before the package gets to it: near the end of its stack V8 aborts the process, once in a while.
    if (/within|indentation/.test(name)) t.match(complaints(text), [/^: the config (is nested deeper than 64 levels|has too many parts)$/])
    // Milliseconds that are far above what is measured (at most 4 000), so that a busy machine does not fail it.
    t.ok(Date.now() - started < 20_000, `${name}: ${Date.now() - started} ms`)
  }
})

t.test('a config with thousands of principals is loaded', async (t) => {
  const principals = Array.from({ length: 3_000 }, (_, i) => `p${i}: { credentials: { tools: { type: api_token, token: { env: T${i} } } } }`).join('\n')
  const started = Date.now()
  t.equal(load(yaml({ principals })).principals.size, 3_001)
  t.ok(Date.now() - started < 5_000, `${Date.now() - started} ms`)
})
