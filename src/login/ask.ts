import { causeCode, UnfitAnswer } from '../issuer-answer.js'
import { exchange, type Answer, type Manner, type Question } from '../issuer-exchange.js'
import { LoginError } from './problem.js'

const PATIENCE_MS = 10_000
/** Statuses that a `Response` may not have a body with. */
const BODILESS = new Set([204, 205, 304])

export interface Asking {
  /** Who is asked, for messages: `the issuer https://id.example`. */
  readonly whom: string
  readonly stop: AbortSignal
  readonly tls?: Manner['tls']
  /** The head is all that is wanted: what follows is cut off. */
  readonly headOnly?: true
  readonly patienceMs?: number
}

/** Nobody answered at all, or not in time. */
export class UnreachableError extends LoginError {}

/**
 * One HTTP exchange while somebody logs in: bounded in time and size, on a connection of its own, and no redirect is
 * followed, since each address has been checked or shown before it is used.
 * @returns the answer, which says of its body that it is JSON: whoever reads it finds out
 * @throws {UnreachableError} where no answer came
 * @throws {LoginError} where it is too large, or packed in a way that cannot be read
 */
export async function ask (url: URL, question: Question, asking: Asking): Promise<Response> {
  const patienceMs = asking.patienceMs ?? PATIENCE_MS
  const patience = AbortSignal.timeout(patienceMs)
  try {
    const signal = AbortSignal.any([patience, asking.stop])
    return responseOf(await exchange(url, question, { signal, tls: asking.tls, wants: () => asking.headOnly !== true }))
  } catch (error) {
    if (error instanceof UnfitAnswer) throw new LoginError(`the answer of ${asking.whom} is ${error.message}`)
    if (asking.stop.aborted) throw cancelled()
    throw new UnreachableError(patience.aborted ? `${asking.whom} did not answer within ${patienceMs / 1000} s` : `${asking.whom} cannot be reached (${causeCode(error)})`)
  }
}

export function cancelled (): LoginError {
  return new LoginError('cancelled: nobody was logged in, and nothing was stored')
}

/** `ask` in the form in which oauth4webapi calls it. */
export function asFetch (asking: Asking) {
  return async (url: string, question: { method: string, headers: Record<string, string>, body?: unknown }): Promise<Response> =>
    await ask(new URL(url), question as Question, asking)
}

function responseOf ({ status, headers: { 'www-authenticate': challenge }, text }: Answer): Response {
  const headers = { 'content-type': 'application/json', ...(challenge === undefined ? {} : { 'www-authenticate': challenge }) }
  // What is no status at all counts as a server that has failed.
  return new Response(BODILESS.has(status) ? null : text, { status: status >= 200 && status <= 599 ? status : 500, headers })
}
