/**
 * Where what must outlive the process is kept, and what sidecars share. Values are sealed bytes; a store neither opens
 * nor understands them.
 */
export interface Store {
  /**
   * Whether other machines use the same records. What others may take up, such as a refresh token that rotates, must not
   * be spent then before that can be noted here.
   */
  readonly shared: boolean
  read (key: string): Promise<Uint8Array | undefined>
  /**
   * Resolves once the value would survive the process being killed and, where the store is on disk, the machine too.
   * @throws whatever the medium says when it cannot; the value before is then still there
   * @throws {LeaseLostError} where `lease` is given and somebody else has had it since, or its work is over: nothing is
   *   written then. One that has run out and that nobody wanted meanwhile still counts, or what was done under it would be lost
   */
  write (key: string, value: Uint8Array, options?: WriteOptions): Promise<void>
  delete (key: string): Promise<void>
  /** Every record whose key begins so, in any order. What is written meanwhile may or may not be among them. */
  list (prefix: string): AsyncIterable<readonly [key: string, value: Uint8Array]>
  /**
   * Runs `work` while nobody else who shares this store runs work under the same key.
   * @throws {StateError} where the lease cannot be had, because the store cannot be reached or another holds it for too long
   */
  lease<T> (key: string, work: (lease: Lease) => Promise<T>): Promise<T>
  /**
   * Tells of records that another process which shares the store has written or deleted; what this one does is not told.
   * @param listener is given the key, or undefined where anything may have changed: after a connection was lost, say
   * @returns ends it
   */
  watch (listener: (key: string | undefined) => void): () => void
  close (): Promise<void>
}

export interface WriteOptions {
  /** Milliseconds since the epoch after which the record may be forgotten. */
  readonly expiresAt?: number | undefined
  /** Write only while this is held. */
  readonly lease?: Lease | undefined
}

/** The right to work under one key. It is renewed for as long as the work goes on and the process lives. */
export interface Lease {
  /** Aborted once it may have passed to somebody else, as after the process was stopped for too long. */
  readonly lost: AbortSignal
  /** Whether it is held at this moment, by the clock, which a timer that is late cannot tell. */
  held (): boolean
}

/** A store that cannot be opened, or a record that cannot be used: the message says what an operator should do. */
export class StateError extends Error {
  constructor (message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'StateError'
  }
}

/** A record is there and does not open here, or is none; the medium itself is well. */
export class BrokenRecordError extends StateError {}

/** The lease has passed to somebody else, whose work counts. */
export class LeaseLostError extends StateError {
  constructor (key: string) {
    super(`the lease on ${key} was lost while its work was under way: what another process has saved counts`)
    this.name = 'LeaseLostError'
  }
}
