import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { mintToken } from '../helpers/mint.js'
import { blocksOf, runShell } from '../helpers/shell.js'
import { serveProcess } from '../helpers/serving.js'
import { guarded, startUpstream } from '../helpers/upstream.js'

t.test('the five steps of docs/start.md, to the letter', async (t) => {
  const blocks = blocksOf(readFileSync(fileURLToPath(new URL('../../docs/start.md', import.meta.url)), 'utf8'))
  const [secrets = '', check = '', curl = ''] = blocks.filter(({ kind }) => kind === 'sh').map(({ text }) => text)
  const yaml = blocks.find(({ kind }) => kind === 'yaml')?.text as string
  t.equal(blocks.length, 5)
  let token = mintToken()
  const upstream = await startUpstream(t, guarded((shown) => shown === token))
  const dir = t.testdir({})
  const config = yaml.replace('https://mcp.example.com', upstream.origin)
  t.not(config, yaml)
  writeFileSync(join(dir, 'valet.yaml'), `listen: 127.0.0.1:0\nadmin: { listen: 127.0.0.1:0 }\n${config}`)
  const [, checked] = await runShell(t, [secrets, check], { MY_TOKEN: token }, dir)
  t.match(checked, 'agent: planner')
  t.notMatch(checked, token)

  const before = process.cwd()
  process.chdir(dir)
  const valet = await serveProcess(t, 'valet.yaml', {}).finally(() => process.chdir(before))
  const called = async (): Promise<string | undefined> => (await runShell(t, [curl.replace('http://127.0.0.1:8401', valet.proxy)], {}, dir))[0]
  t.match(await called(), /^HTTP\/1\.1 200 OK[^]*"result"/)
  t.equal(upstream.seen.at(-1)?.headers['x-api-key'], token)

  token = mintToken()
  const taken = valet.until(({ event, cause }) => event === 'reloaded' && cause === 'secrets')
  writeFileSync(join(dir, 'secrets', 'token'), token)
  await taken
  t.match(await called(), /^HTTP\/1\.1 200 OK/)
})
