import { request as plainRequest, type IncomingHttpHeaders, type IncomingMessage, type RequestOptions } from 'node:http'
import { request as tlsRequest, type RequestOptions as TlsOptions } from 'node:https'
import { boundedText } from './issuer-answer.js'

export interface Question {
  /** GET unless given. */
  readonly method?: string | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly body?: string | URLSearchParams | null | undefined
}

export interface Manner {
  /** Ends the exchange at any moment, its body included. */
  readonly signal: AbortSignal
  readonly tls?: Pick<TlsOptions, 'ca' | 'cert' | 'key' | 'servername'> | undefined
  /** Whether the body of an answer with this status is wanted; otherwise it is cut off, and its text is empty. By default it is. */
  readonly wants?: (status: number) => boolean
}

export interface Answer {
  /** Whatever was said, 999 included. */
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
}

/** What an issuer is told unless the question says otherwise, as there are gateways that turn away whoever says nothing. */
const USUAL = { accept: '*/*', 'user-agent': 'node' }

/**
 * One HTTP exchange with an issuer or its like: bounded in size, and in time by the signal; no redirect is followed.
 *
 * Not by `fetch`: the body of an answer that it has turned down (for a sixth `Content-Encoding`, say) fails with nobody
 * listening when its connection breaks, which ends the process; and it does not talk to some ports at all. Each has a
 * connection of its own, as one that the issuer is just closing could swallow a refresh token that is good only once.
 * @throws {UnfitAnswer} for a body that is too large or cannot be unpacked
 * @throws the error of the connection or of the signal
 */
export async function exchange (url: URL, question: Question, { signal, tls, wants = () => true }: Manner): Promise<Answer> {
  const answer = await head(url, question, tls, signal)
  const status = answer.statusCode ?? 0
  try {
    return { status, headers: answer.headers, text: wants(status) ? await boundedText(answer, answer.headers['content-encoding']) : '' }
  } finally {
    answer.destroy()
  }
}

function head (url: URL, { method = 'GET', headers = {}, body }: Question, tls: Manner['tls'], signal: AbortSignal): Promise<IncomingMessage> {
  // Node would make a name and a password into a header of their own.
  if (!/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '') throw new TypeError('an address that is not asked')
  const text = body === undefined || body === null ? undefined : String(body)
  const options: RequestOptions & TlsOptions = {
    method,
    headers: { ...USUAL, ...headers, 'accept-encoding': 'identity', ...(text === undefined ? {} : { 'content-length': Buffer.byteLength(text) }) },
    agent: false,
    signal,
    // Otherwise a variable of the environment could turn that off.
    rejectUnauthorized: true,
    ...tls,
  }
  return new Promise((resolve, reject) => {
    const request = (url.protocol === 'https:' ? tlsRequest : plainRequest)(url, options, (answer) => {
      // Whoever reads it is told of its errors, too; nobody else has to be.
      answer.on('error', () => {})
      resolve(answer)
    })
    request.on('error', reject)
    // A 101, which nobody asked for, ends the connection and says no more.
    request.on('close', () => reject(new Error('closed without an answer')))
    request.end(text)
  })
}
