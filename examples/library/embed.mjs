// mcp-valet inside a program of your own: the same sidecar as `mcp-valet serve`, with your code told of what happens.
//
//   MCP_URL=http://localhost:8001/mcp MCP_TOKEN=… node examples/library/embed.mjs
import { createSidecar, loadConfigText } from 'mcp-valet'

const config = loadConfigText(`
listen: 127.0.0.1:0
admin: { listen: 127.0.0.1:0 }
state: { driver: memory }
upstreams:
  tools: { url: "${process.env.MCP_URL}", credential: { type: api_token } }
`, { env: process.env })

const sidecar = await createSidecar(config, {
  onRefresh: ({ principal, upstream, expires_in: seconds }) => console.log(`${principal} has a new token for ${upstream}, good for ${seconds ?? 'an unknown number of'} s`),
  onRevoked: ({ principal, upstream }) => console.log(`${principal} must log in to ${upstream} again`),
})

// When a user logs in to your product: put the user's tokens, then give each of the user's agents a key of its own.
await sidecar.principals.put('alice', { credentials: { tools: { token: process.env.MCP_TOKEN } } })
const { id, key } = await sidecar.sessions.create({ principal: 'alice', agent: 'planner', ttlMs: 3_600_000 })

console.log(JSON.stringify({ url: `${sidecar.proxyUrl}/tools/mcp`, headers: { 'X-Session-Key': key.reveal() } }))

process.once('SIGINT', async () => {
  await sidecar.sessions.revoke(id)
  await sidecar.close()
})
