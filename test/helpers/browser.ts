/** What a browser ends at. */
export interface Page {
  readonly url: URL
  readonly status: number
  readonly headers: Headers
  readonly html: string
}

const MOST_STEPS = 20

/** A browser with a person in it: follows redirects, keeps cookies, and sends off the forms that it is shown. */
export class Browser {
  readonly #cookies = new Map<string, Map<string, string>>()
  readonly #fields: Readonly<Record<string, string>>

  /** @param fields what the person writes into a form's field of that name */
  constructor (fields: Readonly<Record<string, string>> = { login: 'alice', password: 'none' }) {
    this.#fields = fields
  }

  /**
   * Goes to an address and on from there.
   * @param stopAt an address at which the way ends before anything is asked of it
   */
  async visit (address: URL | string, stopAt: (url: URL) => boolean = () => false): Promise<Page> {
    let url = new URL(address)
    let form: URLSearchParams | undefined
    for (let step = 0; step < MOST_STEPS; step++) {
      if (stopAt(url)) return { url, status: 0, headers: new Headers(), html: '' }
      const response: Response = await fetch(url, {
        redirect: 'manual', headers: { cookie: this.#cookiesOf(url) }, ...(form === undefined ? {} : { method: 'POST', body: form }),
      })
      this.#keep(url, response.headers.getSetCookie())
      form = undefined
      const html = await response.text()
      const location = response.headers.get('location')
      if (location !== null) {
        url = new URL(location, url)
        continue
      }
      const shown = /<form[^>]* action="([^"]+)"[^>]*method="post"/.exec(html)
      if (shown === null) return { url, status: response.status, headers: response.headers, html }
      form = this.#filled(html)
      url = new URL((shown[1] as string).replaceAll('&amp;', '&'), url)
    }
    throw new Error(`the browser goes round in circles at ${url.origin}${url.pathname}`)
  }

  #filled (html: string): URLSearchParams {
    const form = new URLSearchParams()
    for (const [input] of html.matchAll(/<input[^>]*>/g)) {
      const name = /name="([^"]*)"/.exec(input)?.[1]
      if (name !== undefined) form.set(name, this.#fields[name] ?? /value="([^"]*)"/.exec(input)?.[1] ?? '')
    }
    return form
  }

  #cookiesOf ({ origin }: URL): string {
    return [...this.#cookies.get(origin) ?? []].map(([name, value]) => `${name}=${value}`).join('; ')
  }

  #keep ({ origin }: URL, cookies: readonly string[]): void {
    const own = this.#cookies.get(origin) ?? new Map<string, string>()
    this.#cookies.set(origin, own)
    for (const cookie of cookies) {
      const [name, value] = (cookie.split(';')[0] as string).split(/=(.*)/s) as [string, string]
      value === '' ? own.delete(name) : own.set(name, value)
    }
  }
}
