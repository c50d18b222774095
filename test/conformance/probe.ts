import { Client, StreamableHTTPClientTransport, type VersionNegotiationMode } from '@modelcontextprotocol/client'
import { HIDDEN_TOOL } from './fixture/tools.js'
import type { Stage } from './stage.js'

const ERAS: ReadonlyArray<readonly [spec: string, mode: VersionNegotiationMode]> = [['2025-11-25', 'legacy'], ['2026-07-28', { pin: '2026-07-28' }]]

interface Seen { readonly tools: readonly string[], readonly called: boolean }

/**
 * Whether the tool policy is at work while the suite runs: the hidden tool, and it alone, is neither listed nor callable
 * through mcp-valet, in both eras.
 * @returns what is not as it should be; nothing where all is well
 */
export async function probePolicy ({ direct, through }: Pick<Stage, 'direct' | 'through'>): Promise<string[]> {
  const wrong: string[] = []
  for (const [spec, mode] of ERAS) {
    const [open, judged] = [await look(direct, mode), await look(through, mode)]
    if (!open.tools.includes(HIDDEN_TOOL) || !open.called) wrong.push(`${spec}: the server does not offer ${HIDDEN_TOOL} directly`)
    if (judged.called) wrong.push(`${spec}: ${HIDDEN_TOOL} can be called through mcp-valet`)
    const expected = open.tools.filter((name) => name !== HIDDEN_TOOL)
    if (expected.join() !== judged.tools.join()) wrong.push(`${spec}: through mcp-valet the tools are ${judged.tools.join(', ')}`)
  }
  return wrong
}

async function look (url: string, mode: VersionNegotiationMode): Promise<Seen> {
  const client = new Client({ name: 'probe', version: '1.0.0' }, { versionNegotiation: { mode } })
  await client.connect(new StreamableHTTPClientTransport(new URL(url)))
  try {
    const { tools } = await client.listTools()
    const called = await client.callTool({ name: HIDDEN_TOOL, arguments: {} }).then(() => true, () => false)
    return { tools: tools.map(({ name }) => name), called }
  } finally {
    await client.close()
  }
}
