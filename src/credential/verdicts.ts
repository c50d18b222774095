import type { Credential } from './credential.js'
import { barrenWait } from './failure.js'

/** What an upstream has said about the credentials it was sent, as far as that decides whether another renewal is worth it. */
export class Verdicts {
  #accepted = -1
  #denied = -1
  /** The generation that came in the place of a denied one, until its own first verdict. */
  #onTrial = -1
  /** The latest generation that was refused by an answer although it had been got for just that call. */
  #inVain = -1
  /** Renewals in a row whose tokens were refused, and until when (monotonic milliseconds) no further one is tried for that. */
  #barren = { count: 0, until: 0, generation: -1 }

  accepted ({ generation }: Credential): void {
    if (generation === this.#onTrial) this.#onTrial = -1
    if (generation <= this.#accepted) return
    this.#accepted = generation
    this.#barren = { count: 0, until: 0, generation: -1 }
  }

  /**
   * Remembers a plain 403 for this generation. @returns true the first time, unless it came in the place of a denied one
   * and nothing else has happened to it: then the denial is meant, and must not cost a renewal a call
   */
  firstDenial ({ generation }: Credential): boolean {
    if (generation <= this.#denied) return false
    this.#denied = generation
    return generation !== this.#onTrial
  }

  /**
   * As `CredentialSource.worthRenewing`. All who were refused with an older generation may have the newer one, which costs
   * nothing; and a renewal that failed is no proof, so the next call may try again.
   */
  worthRenewing ({ generation }: Credential, fresh: boolean): boolean {
    if (fresh) this.#inVain = Math.max(this.#inVain, generation)
    return !fresh && generation !== this.#inVain
  }

  /** Whether renewing has brought nothing but refused tokens so far, and it is too early to try again. */
  tooEarly (refused: Credential, now: number): boolean {
    return this.#untried(refused) && now < this.#barren.until
  }

  /** Says that `next` came in the place of `refused`. */
  renewed (refused: Credential, next: Credential, now: number): void {
    if (this.#denied === refused.generation) this.#onTrial = next.generation
    if (!this.#untried(refused) || refused.generation <= this.#barren.generation) return
    const count = this.#barren.count + 1
    this.#barren = { count, until: now + barrenWait(count), generation: refused.generation }
  }

  #untried ({ generation }: Credential): boolean {
    return generation > this.#accepted
  }
}
