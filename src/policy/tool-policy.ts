import type { ToolRules, UpstreamConfig } from '../config/config.js'
import type { Caller, ToolPolicy } from '../exchange.js'
import { compileGlob, fitsAll, type Matcher } from './glob.js'

/** UTF-16 units. MCP asks for at most 128 characters; what is far beyond that is no tool, and is not matched for long. */
const LONGEST_NAME = 512
/** Characters that end a string, or are lost or replaced, on the way through some servers: another name than it seems. */
const UNSAFE = /[\p{Cc}\p{Cs}]/u

/**
 * The policy of several sets of rules together: a tool is allowed where each of them allows it and none denies it.
 * @returns undefined where everything is allowed, so that nothing needs to be read
 */
export function compilePolicy (rulesets: ReadonlyArray<ToolRules | undefined>): ToolPolicy | undefined {
  return rulesets.map((rules) => rules === undefined ? undefined : compileRules(rules)).reduce(both, undefined)
}

function compileRules ({ allow, deny }: ToolRules): ToolPolicy | undefined {
  const all = allow.some(fitsAll)
  if (all && deny.length === 0) return undefined
  const allowed = all ? () => true : anyOf(allow)
  const denied = anyOf(deny)
  return { allows: (tool) => tool.length <= LONGEST_NAME && !UNSAFE.test(tool) && allowed(tool) && !denied(tool) }
}

function both (one: ToolPolicy | undefined, other: ToolPolicy | undefined): ToolPolicy | undefined {
  if (one === undefined || other === undefined) return one ?? other
  return { allows: (tool) => one.allows(tool) && other.allows(tool) }
}

/** Plain names are looked up, so that thousands of them cost no more than one. */
function anyOf (patterns: readonly string[]): Matcher {
  const names = new Set(patterns.filter((pattern) => !/[*?]/.test(pattern)))
  const globs = patterns.filter((pattern) => !names.has(pattern)).map(compileGlob)
  return (name) => names.has(name) || globs.some((fits) => fits(name))
}

/** The policies of all callers. Each set of rules is compiled once, and forgotten with the session or principal it is of. */
export class ToolPolicies {
  readonly #rulesOf: (principal: string) => readonly ToolRules[]
  readonly #compiled = new WeakMap<ToolRules, { readonly policy: ToolPolicy | undefined }>()

  /** @param rulesOf the rules of a principal as they are now, of the config and put at run time; another object for other rules */
  constructor (rulesOf: (principal: string) => readonly ToolRules[]) {
    this.#rulesOf = rulesOf
  }

  /**
   * What a caller may see and call: of the upstream's tools those that its principal and its session allow as well. A
   * caller without a principal has the upstream's own rules.
   * @returns undefined where everything is allowed
   */
  find (caller: Caller | undefined, upstream: Pick<UpstreamConfig, 'tools'>): ToolPolicy | undefined {
    let policy = this.#compile(upstream.tools)
    if (caller === undefined) return policy
    for (const rules of this.#rulesOf(caller.principal)) policy = both(policy, this.#compile(rules))
    return both(policy, this.#compile(caller.tools))
  }

  /** The rules that `find` makes a policy of: those that forbid anything. */
  rulesFor (caller: Caller | undefined, upstream: Pick<UpstreamConfig, 'tools'>): ToolRules[] {
    const rules = caller === undefined ? [upstream.tools] : [upstream.tools, ...this.#rulesOf(caller.principal), caller.tools]
    return rules.filter((one) => one !== undefined).filter((one) => this.#compile(one) !== undefined)
  }

  #compile (rules: ToolRules | undefined): ToolPolicy | undefined {
    if (rules === undefined) return undefined
    let known = this.#compiled.get(rules)
    if (known === undefined) {
      known = { policy: compileRules(rules) }
      this.#compiled.set(rules, known)
    }
    return known.policy
  }
}
