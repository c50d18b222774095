/** The three ways in which calls are made. Each verifies every answer, and is bounded in count and in time. */
import type { Connection } from './connection.js'
import type { Outcome } from './protocol.js'

/** A loop that has not finished by then sends no more, and what it did not send counts as failed. */
const LIMIT_MS = 60_000
let nextId = 0

class Tally {
  readonly latencies: number[] = []
  readonly reasons: string[] = []
  failures = 0
  readonly begin = performance.now()

  add (since: number, failure: string | undefined): void {
    this.latencies.push(performance.now() - since)
    if (failure !== undefined) this.fail(failure)
  }

  fail (reason: string): void {
    this.failures++
    if (this.reasons.length < 3 && !this.reasons.includes(reason)) this.reasons.push(reason)
  }

  outcome (): Outcome {
    const { failures, reasons } = this
    const seconds = (performance.now() - this.begin) / 1000
    return { calls: this.latencies.length, failures, reasons, seconds, latencies: Float64Array.from(this.latencies) }
  }
}

export function closedLoop (connections: Connection[], calls: number): Promise<Outcome> {
  const tally = new Tally()
  let unsent = calls
  return new Promise(resolve => {
    let running = connections.length
    for (const connection of connections) next(connection)

    function next (connection: Connection): void {
      const now = performance.now()
      if (unsent > 0 && now - tally.begin > LIMIT_MS) {
        while (unsent-- > 0) tally.fail('not sent: the round ran out of time')
      }
      if (unsent <= 0) {
        if (--running === 0) resolve(tally.outcome())
        return
      }
      unsent--
      connection.call(nextId++, failure => { tally.add(now, failure); next(connection) })
    }
  })
}

/**
 * Connections are taken in turn, as many agents would. If all are busy the call waits for one, and since its latency counts
 * from the time it was due, the wait is in it (no coordinated omission).
 */
export function paced (connections: Connection[], rate: number, seconds: number): Promise<Outcome> {
  const tally = new Tally()
  const count = Math.round(rate * seconds)
  const free = [...connections]
  const late = new Float64Array(count)
  const overdue: number[] = []
  return new Promise(resolve => {
    void pace()

    async function pace (): Promise<void> {
      for (let n = 0; n < count; n++) {
        const due = tally.begin + n * 1000 / rate
        await until(due)
        late[n] = performance.now() - due
        overdue.push(due)
        send()
      }
    }

    function send (): void {
      while (overdue.length > 0 && free.length > 0) {
        const due = overdue.shift()!
        const connection = free.shift()!
        connection.call(nextId++, failure => {
          tally.add(due, failure)
          free.push(connection)
          if (tally.latencies.length === count) resolve({ ...tally.outcome(), late })
          else if (overdue.length > 0) send()
        })
      }
    }
  })
}

/** Timers have whole milliseconds, so the last stretch is polled; the loop's I/O goes on meanwhile. */
async function until (due: number): Promise<void> {
  const rest = due - performance.now()
  if (rest > 2) await new Promise(resolve => setTimeout(resolve, Math.floor(rest - 1)))
  while (performance.now() < due) await new Promise(resolve => setImmediate(resolve))
}

export function burst (connections: Connection[]): Promise<Outcome> {
  const tally = new Tally()
  return new Promise(resolve => {
    for (const connection of connections) {
      const since = performance.now()
      connection.call(nextId++, failure => {
        tally.add(since, failure)
        if (tally.latencies.length === connections.length) resolve(tally.outcome())
      })
    }
  })
}
