import { isAuthentication, judge, nameOf, type Made, type Seen, type Verdict } from './explain.js'
import type { CallFault, Fault, IssuerFault } from './faults.js'

/** A renewal is tried again after a minute at most; with the time that a call may wait, longer than this no fault explains anything. */
const EXPLAINS_FOR = 95_000
/** What is left to do once the issuer has answered: to write the tokens to disk, which a busy machine takes its time for. */
const TAKEN_IN_WITHIN = 5_000
/** Of each name. */
const EXAMPLES = 4

/** One exchange of an agent, from its start. */
export interface Trail { readonly id: string, readonly principal: string, readonly what: string, readonly startedAt: number, fault: CallFault | undefined }

/** `failedAt`: when the issuer failed a principal for the last time; `answeredAt`: when it has answered again since. */
interface Trouble { failedAt: number, answeredAt: number, revokedAt: number, restoredAt: number }

/** What was made to go wrong, what agents saw, and whether the one explains the other. Times on the monotonic scale. */
export class Ledger {
  /** Exchanges that are over, and those that failed by what they are called and whose fault it is. */
  calls = 0
  readonly failures = { injected: new Map<string, number>(), ours: new Map<string, number>() }
  authentication = { injected: 0, ours: 0 }
  readonly made = new Map<Fault, number>()
  /** The first failures of ours, told in full. */
  readonly examples: string[] = []
  readonly #hidden: ReadonlySet<Fault>
  readonly #tell: (line: string) => void
  readonly #open = new Map<string, Trail>()
  readonly #troubles = new Map<string, Trouble>()
  #last = 0

  /** @param tell is told of each failure of ours as it happens, as far as there are not many of its name */
  constructor (hidden: readonly Fault[] = [], tell: (line: string) => void = () => {}) {
    this.#hidden = new Set(hidden)
    this.#tell = tell
  }

  begin (principal: string, what: string): Trail {
    const trail = { id: `call-${++this.#last}`, principal, what, startedAt: performance.now(), fault: undefined }
    this.#open.set(trail.id, trail)
    return trail
  }

  /** What was made of an exchange so far; undefined where it is none of ours, or over. */
  of (id: string | undefined): Trail | undefined {
    return id === undefined ? undefined : this.#open.get(id)
  }

  note (trail: Trail, fault: CallFault): void {
    this.#count(fault)
    trail.fault = fault
  }

  /** A principal has asked the issuer, which answers as it should, or fails. */
  asked (principal: string, fault: IssuerFault | undefined): void {
    if (fault !== undefined) this.#count(fault)
    const trouble = this.#trouble(principal)
    if (fault === undefined) trouble.answeredAt = Math.min(trouble.answeredAt, performance.now())
    else if (!this.#hidden.has(fault)) Object.assign(trouble, { failedAt: performance.now(), answeredAt: Infinity })
  }

  revoked (principal: string): void {
    this.#count('issuer_revoked')
    if (!this.#hidden.has('issuer_revoked')) Object.assign(this.#trouble(principal), { revokedAt: performance.now(), restoredAt: Infinity })
  }

  restored (principal: string): void {
    this.#trouble(principal).restoredAt = performance.now()
  }

  isRevoked (principal: string): boolean {
    const { revokedAt, restoredAt } = this.#trouble(principal)
    return revokedAt <= performance.now() && restoredAt === Infinity
  }

  /** @returns whether it went well, and if not, whose fault it is */
  end (trail: Trail, seen: Seen): Verdict {
    return this.#end(trail, judge(seen, this.#madeFor(trail)), nameOf(seen), isAuthentication(seen))
  }

  /** As `end`, of an operation that may be several exchanges, of which only the failure is seen. */
  endOperation (trail: Trail, failure?: string): Verdict {
    const { fault, issuerFailed, revoked } = this.#madeFor(trail)
    const made = (fault !== undefined && fault !== 'slow' && fault !== 'ended_token') || issuerFailed || revoked
    const verdict = failure === undefined ? 'ok' : made ? 'injected' : 'ours'
    return this.#end(trail, verdict, failure ?? '', isAuthentication({ status: 0, code: failure, broken: undefined }))
  }

  #madeFor (trail: Trail): Made {
    const { failedAt, answeredAt, revokedAt, restoredAt } = this.#trouble(trail.principal)
    const now = performance.now()
    return {
      fault: trail.fault !== undefined && this.#hidden.has(trail.fault) ? undefined : trail.fault,
      issuerFailed: now - failedAt < EXPLAINS_FOR && trail.startedAt < answeredAt && now < answeredAt + TAKEN_IN_WITHIN,
      revoked: revokedAt <= now && trail.startedAt <= restoredAt,
    }
  }

  #end (trail: Trail, verdict: Verdict, name: string, authentication: boolean): Verdict {
    this.#open.delete(trail.id)
    this.calls++
    const made = trail.fault === undefined ? '' : ` (made: ${trail.fault})`
    const after = ((performance.now() - trail.startedAt) / 1000).toFixed(1)
    if (verdict !== 'ok') this.#fail(verdict, name, `${trail.what} of ${trail.principal} after ${after} s${made}`, authentication)
    return verdict
  }

  /** Its agent did not wait for the end. */
  leave (trail: Trail): void {
    this.#open.delete(trail.id)
    this.calls++
  }

  /** Something that must not be, whatever was made to go wrong. */
  wrong (name: string, more: string): void {
    this.#fail('ours', name, more, false)
  }

  get ours (): number { return sum(this.failures.ours) }
  get injected (): number { return sum(this.failures.injected) }
  /** Exchanges under way. */
  get open (): number { return this.#open.size }

  #fail (whose: 'injected' | 'ours', name: string, more: string, authentication: boolean): void {
    const counts = this.failures[whose]
    counts.set(name, (counts.get(name) ?? 0) + 1)
    if (authentication) this.authentication[whose]++
    if (whose === 'injected' || (counts.get(name) as number) > EXAMPLES) return
    const example = `${new Date().toISOString()} ${name}: ${more}`
    this.examples.push(example)
    this.#tell(`a failure of ours: ${example}`)
  }

  #count (fault: Fault): void {
    this.made.set(fault, (this.made.get(fault) ?? 0) + 1)
  }

  #trouble (principal: string): Trouble {
    const known = this.#troubles.get(principal)
    if (known !== undefined) return known
    const fresh: Trouble = { failedAt: -Infinity, answeredAt: Infinity, revokedAt: Infinity, restoredAt: -Infinity }
    this.#troubles.set(principal, fresh)
    return fresh
  }

  /** Principals come and go; what was noted of one that has gone is of no use any more. */
  forget (principal: string): void {
    this.#troubles.delete(principal)
  }
}

function sum (counts: ReadonlyMap<string, number>): number {
  return [...counts.values()].reduce((total, count) => total + count, 0)
}
