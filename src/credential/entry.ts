import type { PrincipalConfig, ToolRules } from '../config/config.js'
import type { CredentialInfo, PrincipalInfo } from '../control.js'
import type { Provider } from './provider.js'
import { putFor, type PrincipalRecord } from './register.js'

export interface Held {
  readonly provider: Provider
  /** What its grant was made of, to see whether that has changed: `Made.text`. */
  readonly made: string
}

/** One principal: what the config says of it, what was put for it, and its credentials by upstream. */
export interface Entry {
  readonly id: string
  config: PrincipalConfig | undefined
  put: PrincipalRecord | undefined
  /** What was put has not been made credentials of yet: with very many of them that would hold up the start. */
  waiting?: boolean
  readonly held: Map<string, Held>
}

const NO_RULES: readonly ToolRules[] = []

/** Its rules on tools: the config's, and those that were put with it. */
export function rulesOf (entry: Entry | undefined): readonly ToolRules[] {
  const [configured, put] = [entry?.config?.tools, entry?.put?.tools]
  if (configured === undefined && put === undefined) return NO_RULES
  return [configured, put].filter((rules) => rules !== undefined)
}

/** What an owner is told of a principal. */
export function infoOf ({ id, config, put, held }: Entry): PrincipalInfo {
  const source = put === undefined ? 'config' : config === undefined ? 'api' : 'both'
  return { id, tools: put?.tools ?? config?.tools, source, upstreams: [...held.keys()] }
}

/** What an owner is told of one of its credentials: all but the value. */
export function credentialInfo ({ id, held, put }: Entry, upstream: string): CredentialInfo {
  const { type, state, expiresAt, refreshedAt, token, reason } = (held.get(upstream) as Held).provider.status()
  const source = putFor(put, upstream) === undefined ? 'config' : 'api'
  return { principal: id, upstream, type, state, source, expiresAt, refreshedAt, token, error: reason }
}
