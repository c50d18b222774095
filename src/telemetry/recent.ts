import type { Clock } from '../clock.js'
import type { ValetEvent } from './events.js'
import { levelOf, messageOf, type Level } from './levels.js'

/** What has to do with who may call and with which credential; calls themselves are not kept. */
const KEPT: ReadonlySet<ValetEvent['event']> = new Set([
  'refresh', 'rejected', 'replayed', 'denied', 'failed', 'anonymous', 'state_failed', 'session_created', 'session_revoked', 'principal_put', 'principal_deleted',
] as const)
/** What an agent can cause with each of its calls or runs: kept once a kind, with a count, so that it drives nothing else out. */
const REPEATED: ReadonlySet<ValetEvent['event']> = new Set(['rejected', 'replayed', 'denied', 'failed', 'anonymous', 'session_created', 'session_revoked'] as const)
/** What makes two of them the same. The name of a tool is none: an agent may make up as many as it likes. */
const KIND = ['event', 'code', 'reason', 'outcome', 'status', 'principal', 'agent', 'upstream'] as const
/** No field ever holds a token: `token` is a fingerprint. */
const FIELDS = ['principal', 'agent', 'upstream', 'tool', 'rpc_method', 'session', 'status', 'code', 'reason', 'outcome', 'trigger', 'token', 'expires_in', 'retry_in', 'request_id'] as const
const MOST_KEPT = 200
/** Characters of one field. */
const LONGEST_FIELD = 256

export interface RecentEvent {
  /** Of the kind, where it is kept once a kind. */
  readonly id: number
  /** Later ones have higher numbers. */
  readonly seq: number
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly event: ValetEvent['event']
  readonly level: Level
  /** The event's sentence. */
  readonly message: string
  /** How often it has happened. */
  readonly count: number
  readonly fields: Readonly<Record<string, string | number>>
}

/** The last events of authentication, bounded in number and in size. One that is a call costs a look at its name. */
export class RecentEvents {
  readonly #clock: Clock
  /** The longest unheard of first. */
  readonly #kept = new Map<string, RecentEvent>()
  #seq = 0

  constructor (clock: Clock) {
    this.#clock = clock
  }

  observe (event: ValetEvent): void {
    if (!KEPT.has(event.event)) return
    const seq = ++this.#seq
    const key = keyOf(event, seq)
    const before = this.#kept.get(key)
    this.#kept.delete(key)
    this.#kept.set(key, {
      id: before?.id ?? seq,
      seq,
      at: this.#clock.now(),
      event: event.event,
      level: levelOf(event),
      message: messageOf(event),
      count: (before?.count ?? 0) + 1,
      fields: fieldsOf(event),
    })
    if (this.#kept.size > MOST_KEPT) this.#kept.delete(this.#kept.keys().next().value as string)
  }

  /** What has happened since the event of this number, in order; 0: all that is kept. */
  since (seq: number): RecentEvent[] {
    return this.#seq === seq ? [] : [...this.#kept.values()].filter((event) => event.seq > seq)
  }
}

function keyOf (event: ValetEvent, seq: number): string {
  if (!REPEATED.has(event.event)) return String(seq)
  const fields = event as unknown as Record<string, unknown>
  return JSON.stringify(KIND.map((name) => fields[name] ?? null))
}

function fieldsOf (event: ValetEvent): Record<string, string | number> {
  const given = event as unknown as Record<string, unknown>
  const fields: Record<string, string | number> = {}
  for (const name of FIELDS) {
    const value = given[name]
    if (typeof value === 'string') fields[name] = value.length > LONGEST_FIELD ? `${value.slice(0, LONGEST_FIELD)}…` : value
    else if (typeof value === 'number') fields[name] = value
  }
  return fields
}
