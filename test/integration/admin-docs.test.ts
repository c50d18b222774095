import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { createIssuer } from '../../src/demo/issuer.js'
import { createDemoMcpServer } from '../../src/demo/mcp-server.js'
import { listening, startCli } from '../helpers/cli.js'
import { mintToken } from '../helpers/mint.js'
import { blocksOf, runShell } from '../helpers/shell.js'

const page = readFileSync(fileURLToPath(new URL('../../docs/admin-api.md', import.meta.url)), 'utf8')
const blocks = blocksOf(page)
const ofKind = (kind: string): string[] => blocks.filter((block) => block.kind === kind).map(({ text }) => text)

/** Whether an answer is the example on the page, where `…` stands for anything. */
function isLike (t: Test, text: string | undefined, example: string | undefined): void {
  const pattern = (example ?? 'no example').trim().split('…').map((piece) => piece.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('[^"]*')
  t.match(text?.trim(), new RegExp(`^${pattern}$`))
}

t.test('P3: the way from a login to a tool call, as the page has it to the letter', async (t) => {
  let audience = 'urn:not-yet'
  const issuer = await createIssuer({ audience: () => audience, lifetime: 300 })
  t.teardown(async () => await issuer.close())
  const mcp = await createDemoMcpServer({ issuer: issuer.url, jwks: issuer.jwksUri })
  t.teardown(async () => await mcp.close())
  audience = mcp.audience
  const [alice, bob] = await Promise.all(['alice', 'bob'].map(async (user) => await issuer.login(user)))

  const [yaml] = ofKind('yaml') as [string]
  const config = yaml.replace('https://mcp.example.com/mcp', mcp.url).replace('https://id.example.com', issuer.url).replace('client_id: my-product', 'client_id: demo')
    .replace('admin:\n', 'listen: 127.0.0.1:0\nstate: { driver: memory }\nadmin:\n  listen: 127.0.0.1:0\n')
  t.not(config, yaml)
  const file = join(t.testdir({}), 'valet.yaml')
  await writeFile(file, config)
  const token = mintToken()
  const valet = startCli(t, ['serve', '-c', file], { env: { VALET_ADMIN_TOKEN: token } })
  const { proxy, admin } = await listening(valet)
  t.match(page, 'VALET=http://127.0.0.1:8401 VALET_ADMIN=http://127.0.0.1:8402', 'the addresses that the page has are the ones of its config')

  const printed = await runShell(t, ofKind('sh'), {
    VALET: proxy, VALET_ADMIN: admin, VALET_ADMIN_TOKEN: token, ACCESS_TOKEN: alice?.access_token as string, REFRESH_TOKEN: alice?.refresh_token as string, REFRESH_TOKEN_2: bob?.refresh_token as string,
  })
  const [put, made, called, looked, ended, commands] = printed
  const [likePut, likeMade, likeLooked, likeError] = ofKind('json')
  isLike(t, put, likePut)
  t.equal(made, '')
  t.match(called, /alice/, 'the server took the agent for alice')
  t.match(called, /"result"/)
  isLike(t, looked, likeLooked)
  t.equal(ended, '')
  t.match(commands, /^ses_\S+ +bob +planner +search_\*, whoami +in 2 h +api$/m)
  t.match(commands, /^bob +tools +refresh_token +valid/m)
  t.match(commands, /^bob at tools: valid, token [0-9a-f]{8}, expires in /m)
  t.match(commands, /^ses_\S+ revoked$/m)
  t.equal(issuer.families.revoked, 0)

  const ask = async (body: object) => await fetch(`${admin}/v1/sessions`, { method: 'POST', headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' }, body: JSON.stringify(body) })
  isLike(t, await (await ask({ principal: 'bob', agent: 'planner', ttl: '2h' })).text(), likeMade?.replace('alice', 'bob'))
  isLike(t, await (await ask({ principal: 'bob', agent: 'planner', ttl: '2x' })).text(), likeError)

  valet.child.kill('SIGTERM')
  const { stdout } = await valet.ended
  t.notMatch(stdout, /"level":"(warn|error)"/, 'and the log has no complaint')
})
