import { connectAgent, type Agent, type WhoAmI } from './agent.js'
import type { DemoMcpServer } from './mcp-server.js'
import { parseOverhead } from './overhead.js'
import { maskKey, type Findings, type Overhead } from './report.js'
import type { Stage } from './stage.js'

// Enough for a mean that its first calls, which run cold, do not decide.
const MEASURED_CALLS = 30

/**
 * Lets an agent call through the sidecar while its token is revoked under it, and gathers what each side saw.
 *
 * @throws where the agent fails, or where the two sides did not see what they should
 */
export async function play (stage: Stage): Promise<Omit<Findings, 'lifetime'>> {
  const agent = await connectAgent(stage.endpoint, stage.key)
  try {
    const tools = await agent.tools()
    const { first, second } = await callAcrossRevocation(agent, stage.mcp)
    return {
      endpoint: stage.endpoint,
      maskedKey: maskKey(stage.key),
      tools,
      subject: first.subject,
      remainingSeconds: first.remaining_seconds,
      before: first.fingerprint,
      after: second.fingerprint,
      overhead: await measure(agent, stage.adminUrl),
    }
  } finally {
    await agent.close()
  }
}

/**
 * Calls, has the MCP server revoke the token of that call, and calls again.
 *
 * @throws where the second call was not first refused and then let in with another token in both headers
 */
export async function callAcrossRevocation (
  agent: Pick<Agent, 'whoami'>,
  mcp: Pick<DemoMcpServer, 'rejectToken' | 'received'>
): Promise<{ first: WhoAmI, second: WhoAmI }> {
  const first = await agent.whoami()
  mcp.rejectToken(first.fingerprint)
  const second = await agent.whoami()

  const refused = mcp.received().some(({ status, authorization }) => status === 401 && authorization === first.fingerprint)
  const call = mcp.received().findLast(({ rpcMethod }) => rpcMethod === 'tools/call')
  if (!refused || second.fingerprint === first.fingerprint) throw new Error('the revoked token was not refreshed')
  if (call?.authorization !== second.fingerprint || call.apiKey !== second.fingerprint) {
    throw new Error('the call did not arrive with the same token in both headers')
  }
  return { first, second }
}

async function measure (agent: Agent, adminUrl: string): Promise<Overhead | undefined> {
  for (let calls = 0; calls < MEASURED_CALLS; calls++) await agent.whoami()
  const metrics = await fetch(`${adminUrl}/metrics`)
  return parseOverhead(await metrics.text())
}
