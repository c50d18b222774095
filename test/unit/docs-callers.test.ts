import { readFileSync } from 'node:fs'
import t from 'tap'
import { loadConfigText } from '../../src/config/load.js'

t.test('the config of docs/callers.md is one, and nothing in it is worth a warning', async (t) => {
  const page = readFileSync(new URL('../../docs/callers.md', import.meta.url), 'utf8')
  const blocks = [...page.matchAll(/^```yaml\n(.*?)^```$/gms)].map((match) => match[1] as string)
  t.equal(blocks.length, 1)
  const [text = ''] = blocks
  // What is commented out is a config too.
  const all = text.replace(/^( *)# (\w+: \S+).*$/gm, '$1$2').replace(/^( *# )?(algorithms: .*?\]).*$/gm, '    $2')
  for (const config of [text, all]) {
    const warnings: unknown[] = []
    const { callers, upstreams } = loadConfigText(config, { env: {}, warn: (warning) => warnings.push(warning) })
    t.same(warnings, [])
    t.equal(callers.jwt?.issuer, 'https://id.example.com')
    t.match(upstreams.get('tools')?.subjectCredential, { type: 'token_exchange' })
  }
  t.match(loadConfigText(all, { env: {} }).callers.jwt, { agentClaim: 'azp', algorithms: ['ES256'], jwksUri: new URL('https://id.example.com/keys') })
})
