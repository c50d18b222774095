/** Work that goes on by itself, and that whoever closes waits for. It must not reject. */
export class Pending {
  readonly #work = new Set<Promise<void>>()

  add (work: Promise<void>): void {
    this.#work.add(work)
    void work.finally(() => this.#work.delete(work))
  }

  async settled (): Promise<void> {
    await Promise.all(this.#work)
  }
}
