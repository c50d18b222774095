import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import t from 'tap'
import { loadConfigText } from '../../src/config/load.js'
import { startAdmin } from '../helpers/admin-api.js'

const page = readFileSync(new URL('../../docs/status-page.md', import.meta.url), 'utf8')
const block = (kind: string): string => new RegExp(`^\`\`\`${kind}\n(.*?)^\`\`\`$`, 'ms').exec(page)?.[1] ?? ''

t.test('the config of docs/status-page.md turns on what it says', async (t) => {
  const { admin } = loadConfigText(`${block('yaml')}\nupstreams: { tools: { url: "http://127.0.0.1:1/mcp", anonymous: [no_principal] } }`, { env: {} })
  t.equal(admin.token?.source, 'env VALET_ADMIN_TOKEN')
  t.match(admin.listen, { host: '127.0.0.1', port: 8402 }, 'where the page says it is')
})

t.test('its command follows the stream, whose events are what the table says', async (t) => {
  const { sidecar, token, ask, keyFor } = await startAdmin(t, 'upstreams: { tools: { url: "http://127.0.0.1:1/mcp", credential: { type: api_token } } }')
  t.equal((await ask('PUT', '/principals/alice', { credentials: {} })).status, 200)
  await keyFor('alice')
  const curl = spawn('bash', ['-c', `exec ${block('sh')}`], { env: { PATH: process.env.PATH, VALET_ADMIN: sidecar.adminUrl, VALET_ADMIN_TOKEN: token }, stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => { curl.kill('SIGKILL') })
  let text = ''
  await new Promise<void>((resolve, reject) => {
    curl.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString()
      if (/event: authentication\n.*\n\n/.test(text)) resolve()
    })
    curl.once('close', (code) => reject(new Error(`curl ended with ${code}: ${text}`)))
  })
  for (const [, name, described] of page.matchAll(/^\| `(figures|credentials|sessions|authentication)` \| (.*?) \|/gm)) {
    const data = JSON.parse(new RegExp(`event: ${name}\ndata: ([^\n]*)`).exec(text)?.[1] ?? 'null') as Record<string, object[]>
    const named = [...(described as string).matchAll(/`([a-z]+)`/g)].map(([, key]) => key as string)
    const [outer, inner] = name === 'authentication' ? [named.slice(0, 1), named.slice(1, -1)] : [named, []]
    t.same(Object.keys(data).sort(), outer.sort(), `members of ${name}`)
    if (inner.length > 0) t.same(Object.keys(data.events?.[0] ?? {}).sort(), inner.sort(), 'members of an event')
  }
})
