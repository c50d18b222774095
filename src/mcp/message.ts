import { NO_RPC, type RpcSummary } from '../exchange.js'
import { isModest } from './modest.js'
import type { Body } from './read-messages.js'

/** Every method of MCP 2024-11-05 to 2026-07-28: anything else is counted as `other`, since a label must be bounded. */
const METHODS = new Set([
  'initialize', 'ping', 'server/discover',
  'tools/list', 'tools/call',
  'resources/list', 'resources/read', 'resources/templates/list', 'resources/subscribe', 'resources/unsubscribe',
  'prompts/list', 'prompts/get', 'completion/complete', 'logging/setLevel',
  'roots/list', 'sampling/createMessage', 'elicitation/create', 'subscriptions/listen',
  'tasks/get', 'tasks/list', 'tasks/result', 'tasks/cancel', 'tasks/update',
  'notifications/initialized', 'notifications/cancelled', 'notifications/progress', 'notifications/roots/list_changed',
])

const LONGEST_ID = 256
const LONGEST_TOOL = 128
const BATCH: RpcSummary = { id: null, method: 'batch', tool: undefined }
const OTHER: RpcSummary = { id: null, method: 'other', tool: undefined }

/**
 * Reads what a body says, if it is JSON-RPC; a body that is not is somebody else's to judge, and is `other` here.
 * @param body the bytes as they arrived
 */
export function summarize (body: Buffer | undefined): RpcSummary {
  if (body === undefined || body.length === 0) return NO_RPC
  if (!isModest(body)) return OTHER
  let message: unknown
  try {
    message = JSON.parse(body.toString('utf8'))
  } catch {
    return OTHER
  }
  if (Array.isArray(message)) return BATCH
  if (typeof message !== 'object' || message === null) return OTHER
  const { id, method, params } = message as { id?: unknown, method?: unknown, params?: { name?: unknown } }
  const known = labelOf(method, 'result' in message || 'error' in message)
  const tool = known === 'tools/call' && typeof params?.name === 'string' ? params.name.slice(0, LONGEST_TOOL) : undefined
  return { id: echoable(id), method: known, tool }
}

/** The same of a body that has been read for a tool policy. */
export function summaryOf ({ batch, messages: [message] }: Body): RpcSummary {
  if (batch || message === undefined) return BATCH
  const { id, method, answers, tool } = message
  return { id: id === undefined ? null : echoable(JSON.parse(id)), method: labelOf(method, answers), tool: tool?.slice(0, LONGEST_TOOL) }
}

function labelOf (method: unknown, answers: boolean): string {
  if (typeof method === 'string') return METHODS.has(method) ? method : 'other'
  return answers ? 'response' : 'other'
}

/** An id that an error answer may carry back: what JSON-RPC allows, and not so long that it could be a burden. */
function echoable (id: unknown): string | number | null {
  if (typeof id === 'number' && Number.isFinite(id)) return id
  return typeof id === 'string' && id.length <= LONGEST_ID ? id : null
}
