import type { ToolRules } from '../config/config.js'
import { told } from '../state/told.js'
import type { StateError } from '../state/store.js'
import type { Vault } from '../state/vault.js'

const PREFIX = 'session/'
const UNSAVED = 'the session has ended here, but that could not be saved; saving it is tried again until mcp-valet stops'

/** A session as it is kept, without its key; or that a session of the config was revoked. */
export type SessionRecord =
  | { readonly hash: string, readonly principal: string, readonly agent: string, readonly tools?: ToolRules, readonly expires_at?: number }
  | { readonly revoked_at: number }

/** The records of sessions in the vault, and the ends of sessions that the store has refused to save so far. */
export class SessionRecords {
  readonly #vault: Vault
  /** By the session's id what is to be kept of it: that it was revoked, or nothing at all. */
  readonly #unsaved = new Map<string, SessionRecord | undefined>()
  readonly #onUnsaved: (name: string, error: unknown) => void

  /** @param onUnsaved is told of the name of each record that `end` could not save, and why, so that `saveAgain` is called later */
  constructor (vault: Vault, onUnsaved: (name: string, error: unknown) => void) {
    this.#vault = vault
    this.#onUnsaved = onUnsaved
  }

  static holds (name: string): boolean {
    return name.startsWith(PREFIX)
  }

  static idIn (name: string): string {
    return name.slice(PREFIX.length)
  }

  /** @throws {StateError} */
  async read (id: string): Promise<SessionRecord | undefined> {
    return await this.#vault.read(PREFIX + id)
  }

  /** @param unusable is told why, of each that does not open. @throws {StateError} */
  async * list (unusable: (error: StateError) => void): AsyncGenerator<readonly [id: string, record: SessionRecord]> {
    for await (const [name, record] of this.#vault.list<SessionRecord>(PREFIX, (_name, error) => unusable(error))) yield [SessionRecords.idIn(name), record]
  }

  /** @param expiresAt milliseconds since the epoch after which it may be forgotten. @throws {ControlError} ERR_STATE_UNAVAILABLE */
  async save (id: string, record: SessionRecord, expiresAt: number | undefined): Promise<void> {
    await told(this.#vault.write(PREFIX + id, record, { expiresAt }))
  }

  /** @throws {StateError} */
  async delete (id: string): Promise<void> {
    await this.#vault.delete(PREFIX + id)
  }

  /** Whether the store has yet to be told that this session is over. */
  isUnsaved (id: string): boolean {
    return this.#unsaved.has(id)
  }

  /** What is to be kept of a session that is over, undefined for nothing, once `saveAgain` or `saveAll` is called. */
  leave (id: string, left: SessionRecord | undefined): void {
    if (!this.#unsaved.has(id)) this.#unsaved.set(id, left)
  }

  /**
   * As `leave`, and saves it: later, where the store refuses now.
   * @throws {ControlError} ERR_STATE_UNAVAILABLE
   */
  async end (id: string, left: SessionRecord | undefined): Promise<void> {
    this.leave(id, left)
    await told(this.saveAgain(id).catch((error: unknown) => {
      this.#onUnsaved(PREFIX + id, error)
      throw error
    }), UNSAVED)
  }

  /** @throws {StateError} where the store still refuses */
  async saveAll (): Promise<void> {
    for (const id of this.#unsaved.keys()) await this.saveAgain(id)
  }

  /** @throws {StateError} where the store still refuses */
  async saveAgain (id: string): Promise<void> {
    if (!this.#unsaved.has(id)) return
    const left = this.#unsaved.get(id)
    await (left === undefined ? this.delete(id) : this.#vault.write(PREFIX + id, left))
    this.#unsaved.delete(id)
  }
}
