import { existsSync } from 'node:fs'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { startCli } from '../helpers/cli.js'
import { mintToken } from '../helpers/mint.js'
import { requestText, sendRaw } from '../helpers/raw.js'
import { startUpstream } from '../helpers/upstream.js'

/** Standard output on a device that is always full, before anything is written to it. */
const FULL_DISK = 'data:text/javascript,import fs from "node:fs";fs.closeSync(1);fs.openSync("/dev/full","w")'

t.test('row 11: a full disk under the log harms neither calls nor the end', { skip: !existsSync('/dev/full') }, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'valet-attack-'))
  t.teardown(async () => await rm(folder, { recursive: true }))
  const upstream = await startUpstream(t)
  const proxy = join(folder, 'proxy.sock')
  const file = join(t.testdir({
    'valet.yaml': `
listen: unix:${proxy}
admin: { listen: 'unix:${join(folder, 'admin.sock')}' }
state: { driver: memory }
upstreams: { tools: { url: "${upstream.origin}/mcp", anonymous: [no_principal] } }
principals: { alice: { credentials: { tools: { type: api_token, token: { env: TOKEN } } } } }
`,
  }), 'valet.yaml')
  const cli = startCli(t, ['-c', file, '--log-level', 'debug'], { env: { TOKEN: mintToken() }, nodeArgs: ['--import', FULL_DISK] })
  while (!existsSync(join(folder, 'admin.sock'))) await new Promise((resolve) => setTimeout(resolve, 50))
  for (let calls = 0; calls < 3; calls++) {
    t.equal((await sendRaw(`unix:${proxy}`, requestText('GET /tools/mcp HTTP/1.1', ['Host: localhost']))).status, 200)
  }
  cli.child.kill('SIGTERM')
  const { code, signal } = await cli.ended
  t.same({ code, signal }, { code: 0, signal: null })
})

t.test('a reader that stops reading leaves the demo to end in good order', async (t) => {
  const folder = t.testdir({})
  const cli = startCli(t, ['demo', '--once'], { env: { TMPDIR: folder } })
  cli.child.stdout.destroy()
  const { code, stderr } = await cli.ended
  t.same({ code, stderr }, { code: 0, stderr: '' })
  t.same(await readdir(folder), [])
})
