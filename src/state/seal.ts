import { createCipheriv, createDecipheriv, createSecretKey, hkdfSync, randomBytes, type KeyObject } from 'node:crypto'
import { BrokenRecordError, StateError } from './store.js'

/** Without the id of its key: what version 0.1 wrote. */
const FIRST_VERSION = 1
const VERSION = 2
const KEY_ID = 4
const NONCE = 12
const TAG = 16

/** The master key from which each use has a key of its own (HKDF-SHA256, RFC 5869). */
export class StateKey {
  readonly #master: Uint8Array

  /**
   * @param master at least 32 bytes of high entropy
   * @param name for the message where it is too short
   */
  constructor (master: Uint8Array, name = 'the state key') {
    if (master.byteLength < 32) throw new StateError(`${name} is too short: it needs at least 32 bytes, such as \`openssl rand -base64 32\` makes`)
    this.#master = master
  }

  static random (): StateKey {
    return new StateKey(randomBytes(32))
  }

  derive (purpose: string): KeyObject {
    return createSecretKey(Buffer.from(hkdfSync('sha256', this.#master, new Uint8Array(), `mcp-valet/${purpose}`, 32)))
  }
}

interface SealKey { readonly id: Buffer, readonly key: KeyObject }

/**
 * Seals records with AES-256-GCM. The record's own name is authenticated with it, so that a record which somebody has
 * copied over another's place does not open there.
 *
 * A sealed record is: version (1 byte), id of its key (4), nonce (12), ciphertext, tag (16).
 */
export class Seal {
  readonly #current: SealKey
  readonly #all: readonly SealKey[]

  /**
   * @param previous keys that only open, until what they sealed has been written anew
   * @param purpose what is sealed for one does not open for another
   */
  constructor (current: StateKey, previous: readonly StateKey[] = [], purpose: 'seal' | 'binding' = 'seal') {
    this.#current = sealKeyOf(current, purpose)
    this.#all = [this.#current, ...previous.map((key) => sealKeyOf(key, purpose))]
  }

  close (name: string, plain: Uint8Array): Buffer {
    const header = Buffer.concat([Buffer.of(VERSION), this.#current.id])
    const nonce = randomBytes(NONCE)
    const cipher = createCipheriv('aes-256-gcm', this.#current.key, nonce).setAAD(Buffer.concat([header, Buffer.from(name)]))
    return Buffer.concat([header, nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()])
  }

  /** @throws {BrokenRecordError} where the record was changed, moved, made under a key that is not here or by a newer version */
  open (name: string, sealed: Uint8Array): Buffer {
    const bytes = Buffer.from(sealed)
    const version = bytes[0] ?? VERSION
    if (version !== VERSION && version !== FIRST_VERSION) throw new BrokenRecordError(`the stored record ${name} was written by a newer version of mcp-valet: run that version`)
    const header = bytes.subarray(0, version === FIRST_VERSION ? 1 : 1 + KEY_ID)
    if (bytes.length < header.length + NONCE + TAG) throw new BrokenRecordError(`the stored record ${name} is cut short`)
    const keys = version === FIRST_VERSION ? this.#all : this.#all.filter(({ id }) => id.equals(header.subarray(1)))
    const bound = version === FIRST_VERSION ? Buffer.from(name) : Buffer.concat([header, Buffer.from(name)])
    for (const { key } of keys) {
      const plain = decrypted(key, bound, bytes.subarray(header.length))
      if (plain !== undefined) return plain
    }
    throw new BrokenRecordError(`the stored record ${name} does not open: it was changed, or state.key is not the key it was sealed with. Bring that key back, as state.key or under state.previous_keys, or delete the state and log in again`)
  }
}

function sealKeyOf (key: StateKey, purpose: string): SealKey {
  return { id: key.derive(`${purpose}-id`).export().subarray(0, KEY_ID), key: key.derive(purpose) }
}

/** @returns undefined where it is not what was sealed with this key */
function decrypted (key: KeyObject, bound: Buffer, rest: Buffer): Buffer | undefined {
  const decipher = createDecipheriv('aes-256-gcm', key, rest.subarray(0, NONCE))
    .setAAD(bound)
    .setAuthTag(rest.subarray(-TAG))
  try {
    return Buffer.concat([decipher.update(rest.subarray(NONCE, -TAG)), decipher.final()])
  } catch {
    return undefined
  }
}
