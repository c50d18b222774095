import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { SecretRefError } from '../config/secret-ref.js'
import { AdminFailure } from './admin-failure.js'
import type { AdminTarget } from './admin-target.js'
import { printable } from './printable.js'

const PATIENCE = 10_000
/** Bytes; a page of sessions with long tool lists is a few MiB. */
const LARGEST_ANSWER = 64 * 1024 * 1024
const LARGEST_PAGE = 1_000

export interface AskOptions {
  readonly body?: object | undefined
  /** Milliseconds for all of it; 10 s unless given. */
  readonly patience?: number | undefined
}

/** Asks the admin API of a running sidecar. */
export class AdminClient {
  readonly #target: AdminTarget

  constructor (target: AdminTarget) {
    this.#target = target
  }

  get name (): string {
    return this.#target.name
  }

  /** The host by which it is reached. */
  get host (): string {
    const { at } = this.#target
    return 'socket' in at ? 'localhost' : at.url.hostname
  }

  /**
   * @param path below /v1, with its names percent-encoded
   * @returns the answer's JSON; an empty object where there is none
   * @throws {AdminFailure}
   */
  async ask (method: string, path: string, { body, patience = PATIENCE }: AskOptions = {}): Promise<Record<string, unknown>> {
    const authorization = await this.#authorization()
    const text = body === undefined ? '' : JSON.stringify(body)
    const headers = {
      accept: 'application/json',
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      'content-length': Buffer.byteLength(text),
      ...(authorization === undefined ? {} : { authorization }),
    }
    const answer = await this.#send({ method, headers, agent: false }, `/v1${path}`, text, patience)
    const said = objectIn(answer.text)
    if (answer.status === 204 || (answer.status >= 200 && answer.status < 300 && said !== undefined)) return said ?? {}
    throw this.#refusal(answer.status, said?.error)
  }

  /** Asks for what is open to everybody. @returns the status, and the answer's JSON where it is any. @throws {AdminFailure} */
  async probe (path: string, patience: number): Promise<{ status: number, said: Record<string, unknown> }> {
    const { status, text } = await this.#send({ method: 'GET', headers: { accept: 'application/json' }, agent: false }, path, '', patience)
    return { status, said: objectIn(text) ?? {} }
  }

  /** All entries of a list, page by page. @param path as in `ask`, with its query */
  async list (path: string, name: string): Promise<Array<Record<string, unknown>>> {
    const all: Array<Record<string, unknown>> = []
    for (let cursor = ''; ;) {
      const page = await this.ask('GET', `${path}${path.includes('?') ? '&' : '?'}limit=${LARGEST_PAGE}${cursor}`)
      const entries = page[name]
      if (!Array.isArray(entries) || !entries.every(isObject)) throw this.#stranger()
      all.push(...entries)
      if (typeof page.next_cursor !== 'string' || entries.length === 0) return all
      cursor = `&cursor=${encodeURIComponent(page.next_cursor)}`
    }
  }

  async #authorization (): Promise<string | undefined> {
    const { token } = this.#target
    try {
      return token === undefined ? undefined : `Bearer ${(await token.read()).reveal()}`
    } catch (error) {
      if (error instanceof SecretRefError) throw new AdminFailure(1, `the admin token cannot be read: ${error.message}. Or give it with --admin-token-file FILE or MCP_VALET_ADMIN_TOKEN`)
      throw error
    }
  }

  async #send (options: RequestOptions, path: string, text: string, patience: number): Promise<{ status: number, text: string }> {
    const { at } = this.#target
    const signal = AbortSignal.timeout(patience)
    try {
      return await new Promise((resolve, reject) => {
        const answered = (response: IncomingMessage): void => { read(response).then(resolve, reject) }
        const request = 'socket' in at
          ? httpRequest({ ...options, socketPath: at.socket, host: 'localhost', path, signal }, answered)
          : (at.url.protocol === 'https:' ? httpsRequest : httpRequest)(new URL(`${at.url.href.replace(/\/$/, '')}${path}`), { ...options, signal }, answered)
        request.on('error', reject).end(text)
      })
    } catch (error) {
      if (error instanceof AdminFailure) throw error
      throw this.#unreachable(signal.aborted ? `did not answer within ${patience / 1000} s` : trouble((error as NodeJS.ErrnoException).code))
    }
  }

  #unreachable (what: string): AdminFailure {
    return new AdminFailure(3, `mcp-valet cannot be reached at ${this.name}: it ${what}. Is it running there (mcp-valet serve)? Another place is named with --admin-url`)
  }

  #refusal (status: number, error: unknown): AdminFailure {
    if (!isObject(error) || typeof error.code !== 'string') return this.#stranger(status)
    const { code } = error
    if (code === 'ERR_ADMIN_UNAUTHORIZED') return new AdminFailure(1, this.#wrongToken(), code)
    const details = (Array.isArray(error.details) ? error.details : []).filter(isObject)
      .map(({ path, message }) => `\n  ${path === '' ? '' : `${printable(path, 200)}: `}${printable(message, 1_000)}`)
    return new AdminFailure(1, `${printable(error.message, 1_000)}${details.join('')}`, code)
  }

  #wrongToken (): string {
    const { token } = this.#target
    const how = 'give it with --admin-token-file FILE or MCP_VALET_ADMIN_TOKEN'
    if (token === undefined) return `${this.name} asks for the admin token: ${how}`
    return `${this.name} refuses the admin token of ${printable(token.source, 200)}: it is not the one that admin.token in the config of that mcp-valet points at. Another one: ${how}`
  }

  #stranger (status?: number): AdminFailure {
    return new AdminFailure(1, `what answers at ${this.name} is not the admin API of mcp-valet${status === undefined ? '' : ` (HTTP ${status})`}: admin.listen is meant, 8402 by default, and not where agents call`)
  }
}

async function read (response: IncomingMessage): Promise<{ status: number, text: string }> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > LARGEST_ANSWER) throw new AdminFailure(1, 'the answer is larger than 64 MiB')
    chunks.push(chunk)
  }
  return { status: response.statusCode as number, text: Buffer.concat(chunks).toString() }
}

/** What the system says of a connection, as a sentence's end. */
function trouble (code: string | undefined): string {
  switch (code) {
    case 'ECONNREFUSED': return 'accepts no connection'
    case 'ENOENT': return 'has no socket there'
    case 'EACCES': return 'has a socket that this user may not open'
    case 'ENOTFOUND': case 'EAI_AGAIN': return 'has a name that is not known here'
    case 'ECONNRESET': case 'EPIPE': return 'closed the connection'
    default: return `could not be spoken with (${typeof code === 'string' && /^[A-Z0-9_]{1,60}$/.test(code) ? code : 'no reason given'})`
  }
}

function objectIn (text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return isObject(value) ? value : undefined
  } catch {
    return undefined
  }
}

function isObject (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
