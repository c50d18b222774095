import type { IncomingMessage } from 'node:http'
import type { FastifyReply } from 'fastify'
import { ValetError, type ErrorCode } from '../errors.js'
import { NO_RPC, type Exchange, type ToolPolicy } from '../exchange.js'
import { JsonError } from '../mcp/json-reader.js'
import { judgeCalls } from '../mcp/judge-calls.js'
import { summaryOf, summarize } from '../mcp/message.js'
import { contradicts } from '../mcp/mirrored.js'
import { readMessages, type Body } from '../mcp/read-messages.js'
import { asEvents, unknownTool } from '../mcp/unknown-tool.js'
import { answer, fail } from './conclude.js'
import { acceptsOnlyEvents, isPlainJson, namesCall } from './json-request.js'
import type { ProxyOptions } from './options.js'

/** A call as it came. */
interface Came { readonly raw: IncomingMessage, readonly bytes: Buffer | undefined }

/** What of a call goes on to the upstream. */
export interface Passed { readonly body: Buffer | undefined }

/**
 * Lets a call on if its policy allows each tool that it calls, judged by the body and nothing else. A call of another
 * tool is answered here as the server would answer for a tool that it does not have; of a batch the rest goes on, and
 * the answers to what does not are left with the exchange. What cannot be read in one way only is refused.
 * @param tell sends answers where the agent expects them, if that is not the answer to this request, and says whether it could
 * @returns undefined where the call has been answered
 */
export function passTools (exchange: Exchange, policy: ToolPolicy, came: Came, reply: FastifyReply, options: ProxyOptions, tell?: (messages: readonly string[]) => boolean): Passed | undefined {
  const { raw, bytes } = came
  const read = readCalls(came)
  if (typeof read === 'string') {
    exchange.rpc = summarize(bytes)
    fail(exchange, reply, new ValetError(read), options)
    return undefined
  }
  exchange.rpc = read === undefined ? NO_RPC : summaryOf(read)
  if (bytes === undefined || read === undefined) return { body: bytes }
  const { body, denied } = judgeCalls(bytes, read, (tool) => policy.allows(tool))
  if (denied.length === 0) return { body }
  for (const { tool } of denied) {
    options.emit({ event: 'denied', ...exchange.context(), rpc_method: 'tools/call', ...(tool === undefined ? {} : { tool: tool.slice(0, 128) }), reason: 'tool' })
  }
  // To a notification there is no answer (JSON-RPC 2.0, §4.1).
  const answers = denied.filter(({ id }) => id !== undefined).map(unknownTool)
  const owed = answers.length > 0 && tell?.(answers) === true ? [] : answers
  if (body === undefined) {
    answerDenied(exchange, reply, owed, read.batch, acceptsOnlyEvents(raw.headers.accept), options)
    return undefined
  }
  exchange.owed = owed
  return { body }
}

/** @returns undefined where there is none, and an error where some server might read another one than is read here */
function readCalls ({ raw: { rawHeaders, url }, bytes }: Came): Body | undefined | Extract<ErrorCode, 'ERR_BODY_INVALID' | 'ERR_HEADER_MISMATCH'> {
  if (namesCall(url as string)) return 'ERR_BODY_INVALID'
  if (bytes === undefined || bytes.length === 0) return contradicts(rawHeaders, undefined) ? 'ERR_HEADER_MISMATCH' : undefined
  if (!isPlainJson(rawHeaders)) return 'ERR_BODY_INVALID'
  try {
    const body = readMessages(bytes)
    return contradicts(rawHeaders, body) ? 'ERR_HEADER_MISMATCH' : body
  } catch (error) {
    if (error instanceof JsonError) return 'ERR_BODY_INVALID'
    throw error
  }
}

function answerDenied (exchange: Exchange, reply: FastifyReply, owed: readonly string[], batch: boolean, events: boolean, options: ProxyOptions): void {
  if (owed.length === 0) answer(exchange, reply, { status: 202 }, options)
  else if (events) answer(exchange, reply, { status: 200, type: 'text/event-stream', body: asEvents(owed) }, options)
  else answer(exchange, reply, { status: 200, type: 'application/json', body: batch ? `[${owed.join(',')}]` : owed[0] as string }, options)
}
