import t from 'tap'
import { createLog } from '../../src/telemetry/log.js'
import { startAdmin } from '../helpers/admin-api.js'
import { call } from '../helpers/call.js'
import { Canaries } from '../helpers/canary.js'
import { mintToken } from '../helpers/mint.js'
import { startOpaqueIssuer } from '../helpers/tokens.js'
import { startUpstream } from '../helpers/upstream.js'

t.test('row 46: nothing that is put or made by the API is in any answer, log line or metric but a new session\'s key in its own', async (t) => {
  const canaries = new Canaries()
  const lines: string[] = []
  const log = await createLog({ level: 'debug', destination: { write: (line) => { lines.push(line) } } })
  const upstream = await startUpstream(t)
  const issuer = await startOpaqueIssuer(t)
  canaries.add('seed', issuer.seed)
  const { sidecar, ask, keyFor, token } = await startAdmin(t, `
upstreams:
  tools: { url: "${upstream.origin}/mcp" }
  oauth: { url: "${upstream.origin}/oauth", credential: { type: refresh_token, token_endpoint: "${issuer.endpoint}", client_id: app } }
`, { onEvent: log })
  canaries.add('admin token', token)
  const secret = (name: string): string => canaries.add(name, mintToken())
  const answers = [
    await ask('PUT', '/principals/alice', {
      credentials: { tools: { type: 'api_token', token: secret('api token') }, oauth: { access_token: secret('access token'), expires_in: 3600, refresh_token: issuer.seed, client_secret: secret('client secret') } },
    }),
    await ask('PUT', '/principals/alice/credentials/tools', { type: 'api_token', token: secret('second api token') }),
    await ask('PUT', '/principals/carol', { credentials: { oauth: { refresh_token: `${secret('broken refresh token')}\n`, token: secret('stray token') } } }),
    await ask('PUT', '/principals/dave', { credentials: { tools: { type: 'api_token', token: `${secret('broken token')} ` } } }),
    await ask('POST', '/credentials/alice/oauth/refresh'),
    // The issuer ends what there is when somebody shows it a wrong one.
    await ask('PUT', '/principals/bob', { credentials: { oauth: { refresh_token: secret('bad refresh token') } } }),
    await ask('POST', '/credentials/bob/oauth/refresh'),
  ]
  const { key } = await keyFor('alice')
  canaries.add('session key', key)
  for (const name of ['tools', 'oauth']) answers.push(await call(`${sidecar.proxyUrl}/${name}/mcp`, { key }))
  for (const path of ['/sessions', '/principals', '/credentials', '/upstreams', '/openapi.json']) answers.push(await ask('GET', path))
  for (const issued of issuer.issued) canaries.add('issued token', issued)
  canaries.add('rotated token', issuer.refresh)

  t.same(answers.map(({ status }) => status), [200, 200, 400, 400, 200, 200, 502, 200, 200, 200, 200, 200, 200, 200], JSON.stringify(answers.map(({ body }) => body.slice(0, 300))))
  t.ok(lines.length > 3)
  for (const { body, headers } of answers) t.same(canaries.findIn(body + JSON.stringify(headers)), [])
  t.same(canaries.findIn(lines.join('\n') + await sidecar.metrics() + JSON.stringify(sidecar.events)), [])
})
