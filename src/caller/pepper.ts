import { createSecretKey, type KeyObject } from 'node:crypto'
import type { StateKey } from '../state/seal.js'
import type { Vault } from '../state/vault.js'

interface PepperRecord { readonly key: string }

/** The key that session keys are hashed with, the same in every sidecar that shares the state. */
export class Pepper {
  /** The name of its record in the vault. */
  static readonly NAME = 'pepper'
  readonly key: KeyObject
  readonly #vault: Vault

  private constructor (vault: Vault, key: KeyObject) {
    this.#vault = vault
    this.key = key
  }

  /**
   * The one that is kept. Where there is none it follows from the state's key, so that who starts on a state that was
   * emptied has the same one as those that go on; it is kept since the state's key may be another one some day.
   * @throws {StateError}
   */
  static async open (vault: Vault, stateKey: StateKey): Promise<Pepper> {
    return new Pepper(vault, keyOf(await keep(vault, recordOf(stateKey.derive('pepper')))))
  }

  /**
   * Puts it back where the state has lost it.
   * @returns whether the state has this one, and not another
   * @throws {StateError}
   */
  async uphold (): Promise<boolean> {
    const kept = await this.#vault.read<PepperRecord>(Pepper.NAME) ?? await keep(this.#vault, recordOf(this.key))
    return keyOf(kept).equals(this.key)
  }
}

async function keep (vault: Vault, made: PepperRecord): Promise<PepperRecord> {
  return await vault.lease(Pepper.NAME, async (lease) => {
    const kept = await vault.read<PepperRecord>(Pepper.NAME)
    if (kept === undefined) await vault.write(Pepper.NAME, made, { lease })
    return kept ?? made
  })
}

function recordOf (key: KeyObject): PepperRecord {
  return { key: key.export().toString('base64') }
}

function keyOf ({ key }: PepperRecord): KeyObject {
  return createSecretKey(Buffer.from(key, 'base64'))
}
