import t from 'tap'
import { AdminTokenError, readAdminToken } from '../../../src/config/admin-token.js'
import { checkSecrets } from '../../../src/config/check-secrets.js'
import { loadConfigText } from '../../../src/config/load.js'
import { secretRef, SecretRefError } from '../../../src/config/secret-ref.js'
import { mintToken } from '../../helpers/mint.js'

const read = async (TOKEN: string) => await readAdminToken(secretRef({ env: 'TOKEN' }, { env: { TOKEN } }))

t.test('an admin token has 16 to 4096 characters', async (t) => {
  for (const good of ['x'.repeat(16), 'x'.repeat(4096), mintToken()]) t.equal((await read(good)).reveal(), good)
  for (const length of [1, 15, 4097]) {
    await t.rejects(read('x'.repeat(length)), new AdminTokenError(`the admin token (env TOKEN) has ${length} characters; it takes 16 to 4096: make one with \`openssl rand -base64 32\``))
  }
})

t.test('an admin token can be sent in a header, and is not repeated where it cannot', async (t) => {
  for (const bad of ['sixteen letters and a space', 'schlüssel-zum-glück', 'tab\tin-the-middle-of-it']) {
    const error = await read(bad).catch((error: unknown) => error) as Error
    t.ok(error instanceof AdminTokenError, bad)
    t.notMatch(error.message, bad)
  }
})

t.test('one that cannot be read is an error of its place', async (t) => {
  const error = await readAdminToken(secretRef({ env: 'NONE' }, { env: {} })).catch((error: unknown) => error)
  t.ok(error instanceof SecretRefError && !(error instanceof AdminTokenError))
})

t.test('check finds an admin token that is missing or too short', async (t) => {
  const yaml = 'admin: { token: { env: TOKEN } }\nstate: { driver: memory }\nupstreams: { tools: { url: "http://127.0.0.1:1/mcp" } }\n'
  const problems = async (env: Record<string, string>) => await checkSecrets(loadConfigText(yaml, { env }))
  t.match(await problems({}), [{ path: 'admin.token', message: /TOKEN is not set: until it can be read, the admin API answers 503$/ }])
  t.match(await problems({ TOKEN: 'short' }), [{ path: 'admin.token', message: /has 5 characters/ }])
  t.same(await problems({ TOKEN: mintToken() }), [])
})
