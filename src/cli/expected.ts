import { isSessionKey } from '../caller/session-key.js'

export type Said = Record<string, unknown>

/**
 * What the admin API answers to one request, as far as a verb relies on it. Anything else comes from a stranger: another product
 * on that port says 200 to a revocation, too.
 */
export interface Expected {
  readonly status: number
  /** Whether the answer's JSON has what the verb needs; where the status is 204 there is none. */
  readonly fits: (said: Said) => boolean
}

export const isSession = texts('id', 'principal', 'agent')
export const isCredential = texts('principal', 'upstream', 'state')

export const MADE_SESSION: Expected = { status: 201, fits: (said) => isSession(said) && isSessionKey(String(said.key)) }
export const REVOKED: Expected = { status: 204, fits: () => true }
export const RENEWED: Expected = { status: 200, fits: isCredential }
export const UPSTREAMS: Expected = { status: 200, fits: (said) => texts('proxy', 'header')(said) && isListOf(said.upstreams, texts('name', 'path')) }
export const PRINCIPALS: Expected = { status: 200, fits: ({ principals }) => isListOf(principals, isPrincipal) }
export const PUT_PRINCIPAL: Expected = { status: 200, fits: isPrincipal }

export function isListOf (value: unknown, fits: (entry: Said) => boolean): value is Said[] {
  return Array.isArray(value) && value.every((entry) => isObject(entry) && fits(entry))
}

export function isObject (value: unknown): value is Said {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isPrincipal (said: Said): boolean {
  return typeof said.id === 'string' && Array.isArray(said.upstreams)
}

function texts (...keys: readonly string[]): (said: Said) => boolean {
  return (said) => keys.every((key) => typeof said[key] === 'string')
}
