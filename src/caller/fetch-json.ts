import { causeCode, parseObject, UnfitAnswer } from '../issuer-answer.js'
import { exchange, type Answer } from '../issuer-exchange.js'

/** How long an issuer may take for one answer. */
const PATIENCE_MS = 5_000
const ACCEPT = { accept: 'application/json, application/jwk-set+json' }

/** Why nothing was learned from an issuer. The reason is made of known words, as what an issuer sends may be anything. */
export class IssuerError extends Error {
  readonly reason: string
  /** Of an HTTP answer that was not 200. */
  readonly status: number | undefined

  constructor (reason: string, status?: number) {
    super(reason)
    this.name = 'IssuerError'
    this.reason = reason
    this.status = status
  }
}

/**
 * Reads a JSON object from an issuer: bounded in time and size, and no redirect is followed, since one would let whoever
 * can make an issuer redirect name the keys.
 * @param whom for the reason: `its metadata`, `its key set`
 * @throws {IssuerError} unless the answer is 200 with a JSON object
 */
export async function fetchJson (url: string, whom: string, patienceMs = PATIENCE_MS): Promise<Record<string, unknown>> {
  const patience = AbortSignal.timeout(patienceMs)
  let answer: Answer
  try {
    answer = await exchange(new URL(url), { headers: ACCEPT }, { signal: patience, wants: (status) => status === 200 })
  } catch (error) {
    if (error instanceof UnfitAnswer) throw new IssuerError(`${whom} is ${error.message}`)
    throw new IssuerError(patience.aborted ? `${whom} did not come within ${patienceMs / 1000} s` : `${whom} cannot be reached (${causeCode(error)})`)
  }
  const { status, text } = answer
  if (status !== 200) throw new IssuerError(`${whom} answered HTTP ${status}${status >= 300 && status < 400 ? ', and a redirect is not followed' : ''}`, status)
  const body = parseObject(text)
  if (body === undefined) throw new IssuerError(`${whom} is no JSON object`)
  return body
}
