import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { AdminTokenError, readAdminToken } from '../config/admin-token.js'
import { SecretRefError } from '../config/secret-ref.js'
import { AdminFailure } from './admin-failure.js'
import type { AdminTarget } from './admin-target.js'
import { isListOf, isObject, type Expected, type Said } from './expected.js'
import { printable } from './printable.js'

const PATIENCE = 10_000
const GIVE_IT = 'give it with --admin-token-file FILE or MCP_VALET_ADMIN_TOKEN'
/** Bytes; a page of sessions with long tool lists is a few MiB. */
const LARGEST_ANSWER = 64 * 1024 * 1024
const LARGEST_PAGE = 1_000
/** Of one list: a million entries. */
const MOST_PAGES = 1_000

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
   * @throws {AdminFailure} also where what answers is not as expected
   */
  async ask (method: string, path: string, expected: Expected, { body, patience = PATIENCE }: AskOptions = {}): Promise<Said> {
    const authorization = await this.#authorization()
    const text = body === undefined ? '' : JSON.stringify(body)
    const headers = {
      accept: 'application/json',
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      'content-length': Buffer.byteLength(text),
      ...(authorization === undefined ? {} : { authorization }),
    }
    const { status, text: answer } = await this.#send({ method, headers, agent: false }, `/v1${path}`, text, patience)
    const said = objectIn(answer)
    if (status === expected.status && (status === 204 || (said !== undefined && expected.fits(said)))) return said ?? {}
    throw this.#refusal(status, said?.error)
  }

  /** Asks for what is open to everybody. @returns the status, and the answer's JSON where it is any. @throws {AdminFailure} */
  async probe (path: string, patience: number): Promise<{ status: number, said: Said }> {
    const { status, text } = await this.#send({ method: 'GET', headers: { accept: 'application/json' }, agent: false }, path, '', patience)
    return { status, said: objectIn(text) ?? {} }
  }

  /** All entries of a list, page by page. @param path as in `ask`, with its query. @param fits what an entry must be */
  async list (path: string, name: string, fits: (entry: Said) => boolean): Promise<Said[]> {
    const all: Said[] = []
    const cursors = new Set<unknown>()
    const expected: Expected = {
      status: 200,
      // A page that is longer than asked for, or leads back to one before, is no list of ours, and would have no end.
      fits: (page) => isListOf(page[name], fits) && page[name].length <= LARGEST_PAGE && !cursors.has(page.next_cursor),
    }
    for (let cursor = ''; cursors.size < MOST_PAGES;) {
      const page = await this.ask('GET', `${path}${path.includes('?') ? '&' : '?'}limit=${LARGEST_PAGE}${cursor}`, expected)
      const [entries, next] = [page[name] as Said[], page.next_cursor]
      all.push(...entries)
      if (typeof next !== 'string' || entries.length === 0) return all
      cursors.add(next)
      cursor = `&cursor=${encodeURIComponent(next)}`
    }
    throw new AdminFailure(1, `the list of ${name} at ${this.name} is longer than ${MOST_PAGES * LARGEST_PAGE} entries`)
  }

  async #authorization (): Promise<string | undefined> {
    const { token } = this.#target
    try {
      return token === undefined ? undefined : `Bearer ${(await readAdminToken(token)).reveal()}`
    } catch (error) {
      if (error instanceof AdminTokenError) throw new AdminFailure(1, `${error.message}. Another one: ${GIVE_IT}`)
      if (error instanceof SecretRefError) throw new AdminFailure(1, `the admin token cannot be read: ${error.message}. Or ${GIVE_IT}`)
      throw error
    }
  }

  async #send (options: RequestOptions, path: string, text: string, patience: number): Promise<{ status: number, text: string }> {
    const { at } = this.#target
    const signal = AbortSignal.timeout(patience)
    try {
      return await new Promise((resolve, reject) => {
        let hasAnswered = false
        const answered = (response: IncomingMessage): void => {
          hasAnswered = true
          read(response).then(resolve, reject)
        }
        const request = 'socket' in at
          ? httpRequest({ ...options, socketPath: at.socket, host: 'localhost', path, signal }, answered)
          : (at.url.protocol === 'https:' ? httpsRequest : httpRequest)(new URL(`${at.url.href.replace(/\/$/, '')}${path}`), { ...options, signal }, answered)
        request.on('error', reject)
        // 101: nobody asked for another protocol. Without a listener the request would end without a word.
        request.on('upgrade', ({ statusCode = 101 }, socket) => {
          socket.destroy()
          resolve({ status: statusCode, text: '' })
        })
        request.on('close', () => { if (!hasAnswered) reject(Object.assign(new Error('closed'), { code: 'ECONNRESET' })) })
        request.end(text)
      })
    } catch (error) {
      if (error instanceof AdminFailure) throw error
      const { code } = error as NodeJS.ErrnoException
      if (isOfCertificate(code)) throw this.#untrusted(code)
      throw this.#unreachable(signal.aborted ? `did not answer within ${patience / 1000} s` : trouble(code))
    }
  }

  #unreachable (what: string): AdminFailure {
    return new AdminFailure(3, `mcp-valet cannot be reached at ${this.name}: it ${what}. Is it running there (mcp-valet serve)? Another place is named with --admin-url`)
  }

  #untrusted (code: string): AdminFailure {
    const what = code === 'ERR_TLS_CERT_ALTNAME_INVALID'
      ? 'is for another name: call it by a name that is in it, with --admin-url'
      : 'is not vouched for by an authority that is known here: name the file of that authority with NODE_EXTRA_CA_CERTS'
    return new AdminFailure(3, `the certificate of ${this.name} ${code === 'CERT_HAS_EXPIRED' ? 'has expired' : what} (${code}). Nothing was sent`)
  }

  #refusal (status: number, error: unknown): AdminFailure {
    if (status < 400 || !isObject(error) || !/^ERR_/.test(String(error.code)) || typeof error.message !== 'string') return this.#stranger(status)
    const code = String(error.code)
    if (code === 'ERR_ADMIN_UNAUTHORIZED') return new AdminFailure(1, this.#wrongToken(), code)
    const details = (Array.isArray(error.details) ? error.details : []).filter(isObject)
      .map(({ path, message }) => `\n  ${path === '' ? '' : `${printable(path, 200)}: `}${printable(message, 1_000)}`)
    return new AdminFailure(1, `${printable(error.message, 1_000)}${details.join('')}`, code)
  }

  #wrongToken (): string {
    const { token } = this.#target
    if (token === undefined) return `${this.name} asks for the admin token: ${GIVE_IT}`
    return `${this.name} refuses the admin token of ${printable(token.source, 200)}: it is not the one that admin.token in the config of that mcp-valet points at. Another one: ${GIVE_IT}`
  }

  #stranger (status: number): AdminFailure {
    return new AdminFailure(1, `what answers at ${this.name} is not the admin API of mcp-valet (HTTP ${status}): admin.listen is meant, 8402 by default, and not where agents call`)
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

function isOfCertificate (code: unknown): code is string {
  return typeof code === 'string' && /^(?:CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERR_TLS_CERT_)[A-Z0-9_]{1,60}$/.test(code)
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

function objectIn (text: string): Said | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return isObject(value) ? value : undefined
  } catch {
    return undefined
  }
}
