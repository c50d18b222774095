import { readFileSync } from 'node:fs'
import t from 'tap'
import { loadConfigText } from '../../../src/config/load.js'
import { planOf } from '../../../src/login/plan.js'

const page = readFileSync(new URL('../../../docs/login.md', import.meta.url), 'utf8')

t.test('every config of docs/login.md is one to log in with', async (t) => {
  const blocks = [...page.matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].map((match) => match[1] as string)
  t.equal(blocks.length, 2)
  for (const block of blocks) {
    const config = loadConfigText(block, { env: {}, warn: ({ message }) => t.fail(message) })
    t.match(planOf(config, { principal: 'alice', upstream: 'tools' }), { resource: 'https://mcp.example.com/mcp' })
  }
})

t.test('docs/login.md tells of every option', async (t) => {
  const source = readFileSync(new URL('../../../src/cli.ts', import.meta.url), 'utf8')
  const verb = source.slice(source.indexOf("program.command('login')"), source.indexOf('runLogin({'))
  const options = [...verb.matchAll(/'(--[a-z-]+)/g)].map((match) => match[1] as string)
  t.ok(options.length >= 10)
  for (const option of options) t.match(page, option)
})
