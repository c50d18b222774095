import { fileURLToPath } from 'node:url'
import { startHop } from '../helpers/token-hop.js'
import { assert } from './cell.js'
import type { AgentClient } from './clients.js'
import { Closers } from './closers.js'
import { Program } from './program.js'
import type { Valet } from './valet.js'

const WRONG = `vk_${'x'.repeat(43)}`
const PATH = '/fastmcp/mcp'

/**
 * Runs the example file of a client with a session key that nobody has: it must end by itself with an error, having asked
 * for nothing but MCP, where an OAuth client would look for a login at every path it knows. Never throws.
 * @returns what is wrong, if anything
 */
export async function runRefusal (client: AgentClient, valet: Valet, interpreter: string): Promise<string | undefined> {
  const closers = new Closers()
  let output = ''
  try {
    const hop = await startHop(closers, valet.proxyUrl)
    const program = new Program(interpreter, [fileURLToPath(new URL(`../../examples/agents/${client.file}`, import.meta.url))], {
      MCP_VALET_URL: `${hop.origin}${PATH}`, MCP_VALET_KEY: WRONG,
    })
    closers.teardown(async () => await program.stop())
    const code = await program.end().finally(() => { output = program.output })
    assert(code === 1, `it ended with ${code}`)
    assert(program.stderr.includes(client.sentence ? 'ask the operator of mcp-valet for another one' : '401 Unauthorized'), 'it does not say why')
    const passed = hop.passed.map(({ method, url, status }) => `${method} ${url} ${status}`)
    assert(passed.length > 0 && passed.every((one) => one === `POST ${PATH} 401`), `it asked ${passed.join(', ')}`)
    return undefined
  } catch (error) {
    return `${client.name} with a wrong session key: ${(error as Error).message}\n${output}`.trim()
  } finally {
    await closers.close()
  }
}
