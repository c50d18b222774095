import { readFileSync } from 'node:fs'
import t from 'tap'
import { loadConfigText } from '../../../src/config/load.js'
import { compileGlob } from '../../../src/policy/glob.js'
import { compilePolicy } from '../../../src/policy/tool-policy.js'

const page = readFileSync('docs/tools.md', 'utf8')

t.test('T1: the config on the page is one, and does what the page says', async (t) => {
  const blocks = [...page.matchAll(/```yaml\n([\s\S]*?)```/g)].map((match) => match[1] as string)
  t.equal(blocks.length, 1)
  const config = loadConfigText(blocks[0] as string, { env: {} })
  const may = (session: number): string[] => {
    const policy = compilePolicy([config.upstreams.get('tools')?.tools, config.principals.get('alice')?.tools, config.sessions[session]?.tools])
    return ['search_notes', 'get_calendar', 'send_mail', 'admin_drop', 'add'].filter((tool) => policy?.allows(tool))
  }
  t.same(may(0), ['search_notes', 'get_calendar'])
  t.same(may(1), ['search_notes', 'get_calendar', 'add'])
})

t.test('T1: the patterns on the page fit what it says', async (t) => {
  const rows = [...page.matchAll(/^\| `([^`]+)` \| ([^|]*) \| ([^|]*)\|$/gm)]
  t.equal(rows.length, 5)
  const names = (cell: string): string[] => [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1] as string)
  for (const [, pattern = '', good = '', bad = ''] of rows) {
    for (const name of names(good)) t.ok(compileGlob(pattern)(name), `${pattern} fits ${name}`)
    for (const name of names(bad)) t.notOk(compileGlob(pattern)(name), `${pattern} does not fit ${name}`)
  }
})
