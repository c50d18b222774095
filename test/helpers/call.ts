import { request as httpRequest, type IncomingHttpHeaders } from 'node:http'

export interface CallOptions {
  readonly method?: string
  readonly key?: string
  readonly headers?: Record<string, string | string[]>
  readonly body?: string | Buffer
}

export interface CallAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
  /** The body as JSON; throws where it is none. */
  json (): any
}

/** A JSON-RPC request as an agent would send it. */
export function rpc (method: string, params: object = {}, id: string | number = 1): string {
  return JSON.stringify({ jsonrpc: '2.0', id, method, params })
}

/** One HTTP call over node:http, which sends headers just as they are given. POSTs a `tools/list` unless told otherwise. */
export async function call (url: string, options: CallOptions = {}): Promise<CallAnswer> {
  const { method = 'POST', key, headers = {} } = options
  const body = options.body ?? (method === 'POST' ? rpc('tools/list') : undefined)
  return await new Promise((resolve, reject) => {
    const request = httpRequest(url, {
      method,
      headers: {
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        accept: 'application/json, text/event-stream',
        ...(key === undefined ? {} : { 'x-session-key': key }),
        ...headers,
      },
    }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString()
        resolve({ status: response.statusCode as number, headers: response.headers, body: text, json: () => JSON.parse(text) as unknown })
      })
    })
    request.on('error', reject)
    request.end(body)
  })
}

/** The stable code of an error that the sidecar answered with. */
export function errorCode (answer: CallAnswer): string | undefined {
  return (answer.json() as { error?: { data?: { code?: string } } }).error?.data?.code
}
