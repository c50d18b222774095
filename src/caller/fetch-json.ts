import { boundedText, causeCode, parseObject, TooLarge } from '../issuer-answer.js'

/** How long an issuer may take for one answer. */
const PATIENCE_MS = 5_000

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
  let text: string
  try {
    const response = await fetch(url, { redirect: 'manual', signal: patience, headers: { accept: 'application/json, application/jwk-set+json' } })
    if (response.status !== 200) {
      await response.body?.cancel()
      throw new IssuerError(`${whom} answered HTTP ${response.status}${response.status >= 300 && response.status < 400 ? ', and a redirect is not followed' : ''}`, response.status)
    }
    text = await boundedText(response.body)
  } catch (error) {
    if (error instanceof IssuerError) throw error
    if (error instanceof TooLarge) throw new IssuerError(`${whom} is ${error.message}`)
    throw new IssuerError(patience.aborted ? `${whom} did not come within ${patienceMs / 1000} s` : `${whom} cannot be reached (${causeCode(error)})`)
  }
  const body = parseObject(text)
  if (body === undefined) throw new IssuerError(`${whom} is no JSON object`)
  return body
}
