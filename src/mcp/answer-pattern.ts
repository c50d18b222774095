import type { AnswerPattern } from '../config/config.js'
import type { RpcSummary } from '../exchange.js'
import { isModest } from './modest.js'

const BYTE_ORDER_MARK = /^\ufeff/

/**
 * The first pattern that a JSON-RPC answer fits (JSON-RPC 2.0, §5).
 *
 * The answer must be the one to this request. An error may be without an id as well: whoever judges the token often has
 * not read the body.
 * @param text one message; an array of them, or what is no JSON, fits nothing
 * @param id of the request
 * @returns its index; undefined where there is none
 */
export function fittingPattern (text: Buffer, patterns: readonly AnswerPattern[], id: RpcSummary['id']): number | undefined {
  const message = parsed(text)
  if (!isMap(message) || !answers(message, id)) return undefined
  const index = patterns.findIndex((pattern) => fits(pattern, message))
  return index < 0 ? undefined : index
}

/** Whether a value has all that a pattern names: of a map those members, of a list each item, and else the same scalar. */
export function fits (pattern: unknown, value: unknown): boolean {
  if (Array.isArray(pattern)) return Array.isArray(value) && value.length === pattern.length && pattern.every((item, i) => fits(item, value[i]))
  if (!isMap(pattern)) return pattern === value
  return isMap(value) && Object.keys(pattern).every((key) => Object.hasOwn(value, key) && fits(pattern[key], value[key]))
}

function answers (message: Record<string, unknown>, id: RpcSummary['id']): boolean {
  return message.id === id || ('error' in message && (message.id ?? null) === null)
}

function isMap (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function parsed (text: Buffer): unknown {
  if (!isModest(text)) return undefined
  try {
    return JSON.parse(text.toString('utf8').replace(BYTE_ORDER_MARK, ''))
  } catch {
    return undefined
  }
}
