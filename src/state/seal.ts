import { createCipheriv, createDecipheriv, createSecretKey, hkdfSync, randomBytes, type KeyObject } from 'node:crypto'
import { StateError } from './store.js'

const VERSION = 1
const NONCE = 12
const TAG = 16
const HEADER = 1 + NONCE

/** The master key from which each use has a key of its own (HKDF-SHA256, RFC 5869). */
export class StateKey {
  readonly #master: Uint8Array

  /** @param master at least 32 bytes of high entropy */
  constructor (master: Uint8Array) {
    if (master.byteLength < 32) throw new StateError('the state key is too short: it needs at least 32 bytes, such as `openssl rand -base64 32` makes')
    this.#master = master
  }

  static random (): StateKey {
    return new StateKey(randomBytes(32))
  }

  derive (purpose: string): KeyObject {
    return createSecretKey(Buffer.from(hkdfSync('sha256', this.#master, new Uint8Array(), `mcp-valet/${purpose}`, 32)))
  }
}

/**
 * Seals records with AES-256-GCM. The record's own name is authenticated with it, so that a record which somebody has
 * copied over another's place does not open there.
 */
export class Seal {
  readonly #key: KeyObject

  constructor (stateKey: StateKey) {
    this.#key = stateKey.derive('seal')
  }

  close (name: string, plain: Uint8Array): Buffer {
    const nonce = randomBytes(NONCE)
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonce).setAAD(Buffer.from(name))
    return Buffer.concat([Buffer.of(VERSION), nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()])
  }

  /** @throws {StateError} where the record was changed, moved, made under another key or by a newer version */
  open (name: string, sealed: Uint8Array): Buffer {
    const bytes = Buffer.from(sealed)
    if (bytes.length < HEADER + TAG) throw new StateError(`the stored record ${name} is cut short`)
    if (bytes[0] !== VERSION) throw new StateError(`the stored record ${name} was written by a newer version of mcp-valet: run that version`)
    const decipher = createDecipheriv('aes-256-gcm', this.#key, bytes.subarray(1, HEADER))
      .setAAD(Buffer.from(name))
      .setAuthTag(bytes.subarray(-TAG))
    try {
      return Buffer.concat([decipher.update(bytes.subarray(HEADER, -TAG)), decipher.final()])
    } catch (error) {
      throw new StateError(`the stored record ${name} does not open: it was changed, or state.key is not the key it was sealed with. Bring that key back, or delete the state and log in again`, { cause: error })
    }
  }
}
