/** The parent's side of the load generator. */
import type { Destination, LoadCommand, Outcome } from '../load/protocol.js'
import { startModule, type Child } from './children.js'
import { ask, firstMessage } from './ask.js'

type Reply = { outcome: Outcome | undefined } | { error: string }

export class Load {
  #child: Child
  #port = 0
  #sent = new Map<number, number>()
  private constructor (child: Child) { this.#child = child }

  static async start (log: string): Promise<Load> {
    const child = startModule(new URL('../load/main.ts', import.meta.url), log)
    await firstMessage(child)
    return new Load(child)
  }

  /** Throws where not even the warm-up goes through. */
  async open (to: Destination, connections: number, warmup: number): Promise<void> {
    this.#port = to.port
    this.#count(1)
    const { failures, reasons } = await this.#measured({ do: 'open', to, connections, warmup })
    if (failures > 0) throw new Error(`${failures} of ${warmup} warm-up calls failed: ${reasons[0]}`)
  }

  closed (calls: number): Promise<Outcome> { return this.#measured({ do: 'closed', calls }) }
  paced (rate: number, seconds: number): Promise<Outcome> { return this.#measured({ do: 'paced', rate, seconds }) }
  burst (): Promise<Outcome> { return this.#measured({ do: 'burst' }) }
  async close (): Promise<void> { await this.#ask({ do: 'close' }) }

  /** How many calls went to that port in all: warm-up, `initialize` and those that were measured. */
  sentTo (port: number): number { return this.#sent.get(port) ?? 0 }

  async #measured (command: LoadCommand): Promise<Outcome> {
    const outcome = (await this.#ask(command))!
    this.#count(outcome.calls)
    return outcome
  }

  #count (calls: number): void {
    this.#sent.set(this.#port, this.sentTo(this.#port) + calls)
  }

  async #ask (command: LoadCommand): Promise<Outcome | undefined> {
    const reply = await ask<Reply>(this.#child, command)
    if ('error' in reply) throw new Error(reply.error)
    return reply.outcome
  }
}
