// A credential type of one's own: tokens from a secrets manager that mcp-valet does not know.
//
//   MCP_URL=… MANAGER_URL=… MANAGER_TOKEN=… node examples/library/credential-type.mjs
import { createSidecar, GrantError, loadConfigText } from 'mcp-valet'

/** @type {import('mcp-valet').CredentialTypeHandler} */
async function fromSecretsManager ({ principal, options, signal }) {
  const response = await fetch(`${options.url}/secrets/${options.path}/${principal}`, { headers: { authorization: `Bearer ${options.token}` }, signal })
  // A reason is logged, so it must hold nothing that the manager sent.
  if (response.status === 404) throw new GrantError('unavailable', 'the secrets manager has no token for this principal')
  if (!response.ok) throw new GrantError('unavailable', `the secrets manager answered HTTP ${response.status}`)
  const { value, ttl } = await response.json()
  return { accessToken: value, expiresIn: ttl }
}

const config = loadConfigText(`
listen: 127.0.0.1:0
admin: { listen: 127.0.0.1:0 }
state: { driver: memory }
upstreams:
  tools: { url: "${process.env.MCP_URL}" }
principals:
  alice:
    credentials:
      tools: { type: custom, name: secrets_manager, options: { url: "${process.env.MANAGER_URL}", path: mcp, token: { env: MANAGER_TOKEN } } }
`, { env: process.env })

const sidecar = await createSidecar(config, { credentialTypes: { secrets_manager: fromSecretsManager } })
const { key } = await sidecar.sessions.create({ principal: 'alice', agent: 'planner' })
console.log(JSON.stringify({ url: `${sidecar.proxyUrl}/tools/mcp`, headers: { 'X-Session-Key': key.reveal() } }))

process.once('SIGINT', async () => await sidecar.close())
