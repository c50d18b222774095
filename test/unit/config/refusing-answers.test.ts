import { readFileSync } from 'node:fs'
import t from 'tap'
import { loadConfigText } from '../../../src/config/load.js'
import { effectiveConfig } from '../../../src/config/mask.js'
import { complaints, load, problemsOf, yaml } from './helpers.js'

const upstream = (patterns: string): string => yaml({ upstream: `refresh_on_answer: ${patterns}` })
const PLACE = 'upstreams.tools.refresh_on_answer'

t.test('there is none by default', async (t) => {
  t.strictSame(load(yaml()).upstreams.get('tools')?.refreshOnAnswer, [])
})

t.test('patterns are taken as they are, and that of a result is one of an error', async (t) => {
  const config = load(upstream('[{ error: { code: -32001 } }, { error: { data: [1, null, { a: x }] } }, { result: { structuredContent: { a: { b: 1 } } } }, { result: { isError: true, _meta: { "x.example/e": x } } }]'))
  t.strictSame(config.upstreams.get('tools')?.refreshOnAnswer, [
    { error: { code: -32001 } },
    { error: { data: [1, null, { a: 'x' }] } },
    { result: { isError: true, structuredContent: { a: { b: 1 } } } },
    { result: { isError: true, _meta: { 'x.example/e': 'x' } } },
  ])
  const shown = (effectiveConfig(config).upstreams as { tools: { refresh_on_answer: unknown } }).tools.refresh_on_answer
  t.strictSame(shown, config.upstreams.get('tools')?.refreshOnAnswer)
})

t.test('each mistake is told, all at once, each with its line', async (t) => {
  const wrong = [
    ['{ error: { code: "-1" } }', '.error.code: expected a whole number, such as 401'],
    ['{ error: { code: 1.5 } }', '.error.code: expected a whole number, such as 401'],
    ['{ error: {} }', '.error: expected the error\'s code, members of its data, or both, such as { code: 401 }'],
    ['{}', ': expected { error: .. } or { result: .. }, one of them'],
    ['expired', ': expected { error: .. } or { result: .. }, one of them'],
    ['{ error: { code: 1 }, result: { _meta: { a: 1 } } }', ': expected { error: .. } or { result: .. }, one of them'],
    ['{ result: { isError: true } }', '.result: fits every tool that fails: name members of its structuredContent or _meta'],
    ['{ result: {} }', '.result: fits every tool that fails: name members of its structuredContent or _meta'],
    ['{ result: { isError: false, _meta: { a: 1 } } }', '.result.isError: expected true: a result that is no error refuses nothing'],
    ['{ result: { structuredContent: [1] } }', '.result.structuredContent: expected a map of members that the answer has, such as { reason: token_expired }'],
    ['{ result: { structuredContent: {} } }', '.result.structuredContent: expected a map of members that the answer has, such as { reason: token_expired }'],
    ['{ error: { data: {} } }', '.error.data: fits any map: name at least one of its members'],
    ['{ error: { code: 1, data: { a: [1, { b: {} }] } } }', '.error.data.a[1].b: fits any map: name at least one of its members'],
    ['{ error: { code: 1, message: expired } }', '.error.message: unknown key'],
    ['{ result: { _meta: { a: 1 }, content: [] } }', '.result.content: unknown key'],
    ['{ eror: { code: 1 } }', '.eror: unknown key; did you mean "error"?'],
  ] as const
  const text = upstream(`\n${wrong.map(([pattern]) => `  - ${pattern}`).join('\n')}`)
  t.strictSame(complaints(text), wrong.map(([, complaint], i) => `${PLACE}[${i}]${complaint}`))
  t.strictSame(problemsOf(text).map(({ line }) => line), wrong.map((_, i) => 6 + i))
  t.strictSame(complaints(upstream('{ error: { code: 1 } }')), [`${PLACE}: expected a list of at most 32, such as [{ error: { code: 401 } }]`])
  t.strictSame(complaints(upstream(`[${'{ error: { code: 1 } }, '.repeat(33)}]`)), [`${PLACE}: expected a list of at most 32, such as [{ error: { code: 401 } }]`])
  t.strictSame(complaints(yaml({ upstream: 'refresh_on_answers: []' })), ['upstreams.tools.refresh_on_answers: unknown key; did you mean "refresh_on_answer"?'])
})

t.test('every config of docs/hidden-refusals.md is accepted, without a warning', async (t) => {
  const blocks = [...readFileSync('docs/hidden-refusals.md', 'utf8').matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].map((match) => match[1] as string)
  t.ok(blocks.length > 0)
  for (const block of blocks) {
    const warnings: string[] = []
    t.ok(loadConfigText(block, { env: {}, warn: ({ message }) => warnings.push(message) }))
    t.strictSame(warnings, [])
  }
})
