import { readFileSync } from 'node:fs'
import t from 'tap'
import { loadConfigText } from '../../../src/config/load.js'
import { CREDENTIAL_TYPES, credentialKeys } from '../../../src/config/schema-credential.js'

const page = readFileSync('docs/credentials.md', 'utf8')
const sections = new Map(page.split(/^## /m).slice(1).map((section) => [section.slice(0, section.indexOf('\n')), section]))
const shared = sections.get('What they share') as string

t.test('every config of docs/credentials.md is accepted, without a warning', async (t) => {
  const blocks = [...page.matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].map((match) => match[1] as string)
  t.ok(blocks.length >= CREDENTIAL_TYPES.length)
  for (const block of blocks) {
    const warnings: string[] = []
    t.ok(loadConfigText(block, { env: {}, warn: ({ message }) => warnings.push(message) }))
    // What only those who embed it can use is said to be so.
    t.strictSame(warnings.filter((message) => !message.startsWith('is for those who embed mcp-valet')), [])
  }
})

t.test('docs/credentials.md tells of every type, each in a config of its own, and of every key', async (t) => {
  for (const type of CREDENTIAL_TYPES) {
    const section = sections.get(`\`${type}\``)
    t.match(section, new RegExp(`type: ${type}\\b`), type)
    for (const key of credentialKeys(type)) {
      const told = new RegExp(`\`${key}\`|\\b${key}:`)
      t.ok(told.test(section as string) || told.test(shared), `${type}: ${key}`)
    }
  }
})
