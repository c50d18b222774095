import { randomUUID } from 'node:crypto'
import * as v2 from '@modelcontextprotocol/client'
import { Client as Client1 } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport as Transport1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { CallToolResultSchema, CreateMessageRequestSchema, ElicitRequestSchema, ListRootsRequestSchema } from '@modelcontextprotocol/sdk/types.js'
import type { Test } from 'tap'
import { Watch } from './watch.js'

export interface Notification { readonly method: string, readonly params?: Record<string, unknown> }

/** What a client answers a server that asks. */
export interface Handlers {
  readonly sampling?: () => Promise<string>
  readonly elicitation?: () => Promise<Record<string, string | boolean | number>>
  readonly roots?: () => Promise<string[]>
}

export interface AgentOptions {
  readonly headers?: Record<string, string>
  readonly handlers?: Handlers
  /** Of the client 2.4: how it finds the era of a server; 'legacy' unless given. */
  readonly versions?: v2.VersionNegotiationMode
  readonly authProvider?: unknown
}

/** The answer to one HTTP request of an agent. */
export interface Answered { readonly method: string, readonly url: string, readonly status: number, readonly contentType: string }

interface CallResult { readonly content: Array<{ readonly type: string, readonly text?: string }>, readonly isError?: boolean }
interface CallOptions { readonly onprogress?: (progress: { progress: number }) => void, readonly signal?: AbortSignal }

/** An official client, of whichever SDK, with everything on record that it saw. */
export interface SdkAgent {
  readonly client: Common
  /** In the header `x-agent` of its requests, by which they are known where they arrive. */
  readonly mark: string
  readonly session: () => string | undefined
  /** The protocol version that was agreed on. */
  readonly version: () => string | undefined
  tools (): Promise<string[]>
  call (name: string, args?: object, options?: CallOptions): Promise<CallResult>
  /** Ends the session by DELETE. */
  terminate (): Promise<void>
  readonly answers: Answered[]
  readonly notifications: Notification[]
  notified (fits: (notification: Notification) => boolean): Promise<Notification>
  /** What the client reported by `onerror` while it was in use. */
  readonly errors: Error[]
  close (): Promise<void>
}

/** What the two clients have in common, as far as tests need it. */
interface Common {
  listTools (): Promise<{ tools: Array<{ name: string }> }>
  ping (): Promise<unknown>
  subscribeResource (params: { uri: string }): Promise<unknown>
  listResources (): Promise<{ resources: Array<{ uri: string }> }>
  readResource (params: { uri: string }): Promise<{ contents: Array<{ uri: string }> }>
  setLoggingLevel (level: 'debug'): Promise<unknown>
  close (): Promise<void>
  fallbackNotificationHandler?: ((notification: never) => Promise<void>) | undefined
  onerror?: ((error: Error) => void) | undefined
}

interface Wired {
  readonly client: Common
  readonly connect: () => Promise<void>
  readonly call: (params: { name: string, arguments: Record<string, unknown> }, options: CallOptions) => Promise<unknown>
  readonly transport: { sessionId?: string | undefined, protocolVersion?: string | undefined, terminateSession (): Promise<void> }
}

type Fetch = (url: string | URL, init?: RequestInit) => Promise<Response>

/** Soon, so that tests are quick, and often enough for a machine under load. */
const reconnectionOptions = { initialReconnectionDelay: 100, maxReconnectionDelay: 500, reconnectionDelayGrowFactor: 1.5, maxRetries: 20 }
const INFO = { name: 'interop', version: '1.0.0' }

export type Sdk = 'sdk 1.32' | 'client 2.4'
export const SDKS: readonly Sdk[] = ['sdk 1.32', 'client 2.4']

/** Connects an official client, and closes it when the test ends. @throws the client's own errors */
export async function connectSdk (t: Test, sdk: Sdk, url: string, options: AgentOptions = {}): Promise<SdkAgent> {
  const agent = makeSdk(t, sdk, url, options)
  await agent.connect()
  return agent
}

/** The same without connecting, for a test of what happens then. */
export function makeSdk (t: Test, sdk: Sdk, url: string, options: AgentOptions = {}): SdkAgent & { connect (): Promise<void> } {
  const answers: Answered[] = []
  const notifications: Notification[] = []
  const errors: Error[] = []
  const watch = new Watch<Notification>()
  let closed = false

  const recording: Fetch = async (target, init) => {
    const answer = await fetch(target, init)
    answers.push({ method: init?.method ?? 'GET', url: String(target), status: answer.status, contentType: answer.headers.get('content-type') ?? '' })
    return answer
  }
  const mark = options.headers?.['x-agent'] ?? randomUUID()
  const marked = { ...options, headers: { ...options.headers, 'x-agent': mark } }
  const { client, connect, call, transport } = sdk === 'sdk 1.32' ? wire1(url, marked, recording) : wire2(url, marked, recording)
  client.onerror = (error) => { if (!closed) errors.push(error) }
  client.fallbackNotificationHandler = async (notification: Notification) => {
    notifications.push(notification)
    watch.tell(notification)
  }
  const close = async (): Promise<void> => {
    closed = true
    await client.close()
  }
  t.teardown(close)
  return {
    client,
    connect,
    mark,
    session: () => transport.sessionId,
    version: () => transport.protocolVersion,
    tools: async () => (await client.listTools()).tools.map(({ name }) => name),
    call: async (name, args = {}, callOptions = {}) => await call({ name, arguments: args as Record<string, unknown> }, callOptions) as CallResult,
    terminate: async () => await transport.terminateSession(),
    answers,
    notifications,
    notified: async (fits) => await watch.until(fits, notifications),
    errors,
    close,
  }
}

function capabilities (handlers: Handlers = {}): object {
  return {
    ...(handlers.sampling === undefined ? {} : { sampling: {} }),
    ...(handlers.elicitation === undefined ? {} : { elicitation: { form: {} } }),
    ...(handlers.roots === undefined ? {} : { roots: {} }),
  }
}

function wire1 (url: string, { headers = {}, handlers = {}, authProvider }: AgentOptions, fetch: Fetch): Wired {
  const { sampling, elicitation, roots } = handlers
  const client = new Client1(INFO, { capabilities: capabilities(handlers) })
  if (sampling !== undefined) client.setRequestHandler(CreateMessageRequestSchema, async () => message(await sampling()))
  if (elicitation !== undefined) client.setRequestHandler(ElicitRequestSchema, async () => ({ action: 'accept', content: await elicitation() }))
  if (roots !== undefined) client.setRequestHandler(ListRootsRequestSchema, async () => ({ roots: (await roots()).map((uri) => ({ uri })) }))
  const transport = new Transport1(new URL(url), { fetch, requestInit: { headers }, reconnectionOptions, ...(authProvider === undefined ? {} : { authProvider: authProvider as never }) })
  return {
    client: client as Common,
    connect: async () => await client.connect(transport as never),
    call: async (params, options) => await client.callTool(params, CallToolResultSchema, options as never),
    transport,
  }
}

function wire2 (url: string, { headers = {}, handlers = {}, versions = 'legacy', authProvider }: AgentOptions, fetch: Fetch): Wired {
  const { sampling, elicitation, roots } = handlers
  const client = new v2.Client(INFO, { capabilities: capabilities(handlers), versionNegotiation: { mode: versions } })
  if (sampling !== undefined) client.setRequestHandler('sampling/createMessage', async () => message(await sampling()))
  if (elicitation !== undefined) client.setRequestHandler('elicitation/create', async () => ({ action: 'accept', content: await elicitation() }))
  if (roots !== undefined) client.setRequestHandler('roots/list', async () => ({ roots: (await roots()).map((uri) => ({ uri })) }))
  const transport = new v2.StreamableHTTPClientTransport(new URL(url), { fetch, requestInit: { headers }, reconnectionOptions, ...(authProvider === undefined ? {} : { authProvider: authProvider as never }) })
  return {
    client: client as unknown as Common,
    connect: async () => await client.connect(transport),
    call: async (params, options) => await client.callTool(params, options as never),
    transport: {
      get sessionId () { return transport.sessionId },
      get protocolVersion () { return client.getNegotiatedProtocolVersion() },
      terminateSession: async () => await transport.terminateSession(),
    },
  }
}

function message (text: string) {
  return { model: 'a model', role: 'assistant' as const, content: { type: 'text' as const, text } }
}
