/**
 * Where what must outlive the process is kept. Values are sealed bytes; a store neither opens nor understands them.
 */
export interface Store {
  read (key: string): Promise<Uint8Array | undefined>
  /**
   * Resolves once the value would survive the process being killed and, where the store is on disk, the machine too.
   * @throws whatever the medium says when it cannot; the value before is then still there
   */
  write (key: string, value: Uint8Array): Promise<void>
  delete (key: string): Promise<void>
  /** Runs `work` while nobody else who shares this store runs work under the same key. */
  lease<T> (key: string, work: () => Promise<T>): Promise<T>
  close (): Promise<void>
}

/** A store that cannot be opened, or a record that cannot be used: the message says what an operator should do. */
export class StateError extends Error {
  constructor (message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'StateError'
  }
}
