/** The parent's side of the load generator. */
import type { Destination, LoadCommand, Outcome } from '../load/protocol.js'
import { startModule, type Child } from './children.js'
import { ask, firstMessage } from './ask.js'

type Reply = { outcome: Outcome | undefined } | { error: string }

export class Load {
  #child: Child
  #sent = new Map<number, number>()
  private constructor (child: Child) { this.#child = child }

  static async start (log: string): Promise<Load> {
    const child = startModule(new URL('../load/main.ts', import.meta.url), log)
    await firstMessage(child)
    return new Load(child)
  }

  /** Throws where not even the warm-up goes through. */
  async open (to: Destination, connections: number, warmup: number): Promise<void> {
    this.#count(to.port, 1)
    const { failures, reasons } = await this.#measured(to.port, { do: 'open', to, connections, warmup })
    if (failures > 0) throw new Error(`${failures} of ${warmup} warm-up calls failed: ${reasons[0]}`)
  }

  closed (port: number, calls: number): Promise<Outcome> { return this.#measured(port, { do: 'closed', port, calls }) }
  paced (port: number, rate: number, seconds: number): Promise<Outcome> { return this.#measured(port, { do: 'paced', port, rate, seconds }) }
  burst (port: number): Promise<Outcome> { return this.#measured(port, { do: 'burst', port }) }
  async close (port: number): Promise<void> { await this.#ask({ do: 'close', port }) }

  /** How many calls went to that port in all: warm-up, `initialize` and those that were measured. */
  sentTo (port: number): number { return this.#sent.get(port) ?? 0 }

  async #measured (port: number, command: LoadCommand): Promise<Outcome> {
    const outcome = (await this.#ask(command))!
    this.#count(port, outcome.calls)
    return outcome
  }

  #count (port: number, calls: number): void {
    this.#sent.set(port, this.sentTo(port) + calls)
  }

  async #ask (command: LoadCommand): Promise<Outcome | undefined> {
    const reply = await ask<Reply>(this.#child, command)
    if ('error' in reply) throw new Error(reply.error)
    return reply.outcome
  }
}
