/** What has been started, to be stopped in the opposite order. */
export class Closers {
  readonly #handlers: Array<() => unknown> = []

  teardown (handler: () => unknown): void {
    this.#handlers.push(handler)
  }

  async close (): Promise<void> {
    for (const handler of this.#handlers.splice(0).reverse()) await handler()
  }
}
