import type { ServerResponse } from 'node:http'
import type { Test } from 'tap'
import { startUpstream, type Answer, type Seen, type TestUpstream } from './upstream.js'

interface Asked { readonly id?: unknown, readonly method?: string, readonly params?: { readonly name?: string, readonly cursor?: string } }

export interface ToolServerOptions {
  readonly tools: readonly string[]
  /** How it answers. */
  readonly as?: 'json' | 'sse'
  /** Further members of a list. */
  readonly list?: object
  /** Takes what it would answer otherwise. */
  readonly instead?: Answer
}

/**
 * An upstream that lists tools and answers calls of any of them, as JSON or as an event stream, batches included: what a
 * server does that knows nothing of who may call what.
 */
export async function startToolServer (t: Test, { instead, ...options }: ToolServerOptions): Promise<TestUpstream> {
  return await startUpstream(t, instead ?? answerTools(options))
}

export function answerTools ({ tools, as = 'json', list = {} }: Omit<ToolServerOptions, 'instead'>): Answer {
  const reply = ({ id, method, params }: Asked): object[] => {
    if (id === undefined) return []
    if (method === 'tools/list') return [{ jsonrpc: '2.0', id, result: { tools: tools.map(toolOf), ...list } }]
    if (method === 'tools/call') return [{ jsonrpc: '2.0', id, result: { content: [{ type: 'text', text: `called ${params?.name}` }] } }]
    return [{ jsonrpc: '2.0', id, result: {} }]
  }
  return (seen, response) => {
    const asked = JSON.parse(seen.body.toString()) as Asked | Asked[]
    const replies = [asked].flat().flatMap(reply)
    if (replies.length === 0) return void response.writeHead(202).end()
    if (as === 'sse') sendEvents(response, replies)
    else sendJson(response, Array.isArray(asked) ? replies : replies[0])
  }
}

/** A tool as a server lists it. */
export function toolOf (name: string): object {
  return { name, description: `does ${name}`, inputSchema: { type: 'object', properties: { name: { type: 'string' } } } }
}

/** A list as a server answers with it, as JSON text. */
export function listOf (names: readonly string[], id: unknown = 1, more: object = {}): string {
  return JSON.stringify({ jsonrpc: '2.0', id, result: { tools: names.map(toolOf), ...more } })
}

export function sendJson (response: ServerResponse, value: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value))
}

export function sendEvents (response: ServerResponse, values: readonly unknown[]): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' }).end(values.map((value, i) => `event: message\nid: ${i}\ndata: ${JSON.stringify(value)}\n\n`).join(''))
}

/** The names in a list, in an answer of either kind; of all lists where it holds several. */
export function namesIn (answer: { readonly body: string, readonly headers: { 'content-type'?: string | undefined } }): string[] {
  return messagesIn(answer).flatMap((message) => ((message.result as { tools?: Array<{ name: string }> } | undefined)?.tools ?? []).map(({ name }) => name))
}

export interface Message { readonly id?: unknown, readonly result?: unknown, readonly error?: { readonly code: number, readonly message: string } }

/** The messages of an answer: of its JSON, or of the data of its events. */
export function messagesIn ({ body, headers }: { readonly body: string, readonly headers: { 'content-type'?: string | undefined } }): Message[] {
  if (headers['content-type']?.startsWith('text/event-stream') !== true) return [JSON.parse(body) as Message | Message[]].flat()
  return body.split('\n\n').flatMap((event) => {
    const data = event.split('\n').filter((line) => line.startsWith('data:')).map((line) => line.slice(5).trim()).join('\n')
    return data === '' ? [] : [JSON.parse(data) as Message | Message[]].flat()
  })
}

/** The tools that calls named which have arrived at a server, by the plain reading of their bodies. */
export function calledAt (seen: readonly Seen[]): string[] {
  return seen.flatMap(({ body }) => [JSON.parse(body.toString()) as Asked | Asked[]].flat()).flatMap(({ method, params }) => method === 'tools/call' ? [String(params?.name)] : [])
}
