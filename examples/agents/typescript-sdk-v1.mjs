/**
 * An agent on the TypeScript SDK 1.x (npm install @modelcontextprotocol/sdk). You are its model: type a tool's name and its
 * arguments as JSON.
 *
 *     MCP_VALET_URL=http://127.0.0.1:8401/tools/mcp MCP_VALET_KEY=vk_… node typescript-sdk-v1.mjs
 */
import { createInterface } from 'node:readline'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'

const client = new Client({ name: 'my-agent', version: '1.0.0' })
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
    const { content, isError } = await client.callTool({ name, arguments: JSON.parse(args || '{}') }, undefined, { onprogress })
    console.log(isError ? 'error:' : 'result:', ...content.map(({ text }) => text))
  } catch (error) {
    console.log('error:', error.message)
  }
}

await transport.terminateSession()
await client.close()
