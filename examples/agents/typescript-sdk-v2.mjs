/**
 * An agent on the TypeScript SDK 2.x (npm install @modelcontextprotocol/client). You are its model: type a tool's name and its
 * arguments as JSON.
 *
 *     MCP_VALET_URL=http://127.0.0.1:8401/tools/mcp MCP_VALET_KEY=vk_… node typescript-sdk-v2.mjs
 */
import { createInterface } from 'node:readline'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'

// auto: MCP 2026-07-28 where the server has it, the versions before it where not.
const client = new Client({ name: 'my-agent', version: '1.0.0' }, { versionNegotiation: { mode: 'auto' } })
const transport = new StreamableHTTPClientTransport(new URL(process.env.MCP_VALET_URL), {
  requestInit: { headers: { 'X-Session-Key': process.env.MCP_VALET_KEY } },
})
await client.connect(transport)

const { tools } = await client.listTools()
console.log('tools:', ...tools.map(({ name }) => name))

const onprogress = ({ progress, total }) => console.log(`progress: ${progress} of ${total}`)
for await (const line of createInterface({ input: process.stdin })) {
  const [, name, args] = /^(\S+)\s*(.*)$/.exec(line) ?? []
  try {
    const { content, isError } = await client.callTool({ name, arguments: JSON.parse(args || '{}') }, { onprogress })
    console.log(isError ? 'error:' : 'result:', ...content.map(({ text }) => text))
  } catch (error) {
    console.log('error:', error.message)
  }
}

await transport.terminateSession()
await client.close()
