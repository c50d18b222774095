import { chmodSync } from 'node:fs'
import t from 'tap'
import { loadConfigFile } from '../../../src/config/load.js'
import { complaints, yaml } from './helpers.js'

t.test('what is wrong with a reference to a secret is said, and nothing of it shown', async (t) => {
  const cases: ReadonlyArray<readonly [string, string]> = [
    ['{ env: $PLANNER_KEY }', 'env takes the name of an environment variable: letters, digits and _, without the $'],
    ['{ env: a-b }', 'env takes the name of an environment variable: letters, digits and _'],
    ['{ env: A, file: x }', 'names env and file: a secret has one place'],
    ['{ env: A, flie: x }', 'takes env alone: leave the other keys out'],
    ['{ file: }', 'file is empty: file takes a path'],
    ['{ file: [x] }', 'file takes a path'],
    ['{ command: "pass show x" }', 'command takes a list of the program and its arguments, such as [pass, show, mcp/alice]'],
    ['{ command: [] }', 'command is empty: it takes a list of the program and its arguments'],
    ['literal', 'a secret is never written here: use { env: NAME }, { file: PATH } or { command: [..] }'],
  ]
  for (const [written, told] of cases) {
    t.same(complaints(yaml({ credential: `{ type: api_token, token: ${written} }` })), [`principals.alice.credentials.tools.token: ${told}`], written)
  }
})

t.test('a URL with a port that is none, or a variable in its host', async (t) => {
  const at = (url: string): string[] => complaints(`upstreams: { tools: { url: "${url}" } }`)
  t.same(at('http://mcp:99999/mcp'), ['upstreams.tools.url: has a port above 65535'])
  for (const host of [`$${'{HOST}'}:7001`, '$HOST', '{host}']) t.same(at(`http://${host}/mcp`), ['upstreams.tools.url: must name the host itself: variables ($NAME) are not put in'], host)
  t.same(at('http://mcp:65535/mcp'), [])
})

t.test('upstreams as a list', async (t) => {
  t.same(complaints('upstreams:\n  - { name: tools, url: "http://h/mcp" }\n'), ['upstreams: expected a map (key: value), and this is a list: write a name and a colon in place of each dash'])
})

t.test('a config that is a folder, or may not be read', async (t) => {
  const dir = t.testdir({ 'valet.yaml': yaml() })
  await t.rejects(loadConfigFile(dir, {}), /this is a folder: name the config file in it/)
  chmodSync(`${dir}/valet.yaml`, 0)
  if (process.getuid?.() !== 0) await t.rejects(loadConfigFile(`${dir}/valet.yaml`, {}), /may not read this file/)
})
