import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium, type BrowserContextOptions, type Page } from 'playwright-core'
import type { Test } from 'tap'

const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']
const executable = PLACES.find((place) => existsSync(place))

/** Why the tests in a browser are skipped; false where they run, or have to (`MCP_VALET_TEST_CHROMIUM=required`). */
export const skip: string | false = executable !== undefined || process.env.MCP_VALET_TEST_CHROMIUM === 'required'
  ? false
  : 'there is no Chromium here: install it, as with apt-get install chromium'

if (skip !== false) process.stderr.write(`SKIPPED, what a browser has to show: ${skip}\n`)

export interface Tab {
  readonly page: Page
  /** What the page or the browser complained about: errors, warnings, scripts that failed, what the policy kept out. */
  readonly complaints: string[]
  /** Every address that was asked for. */
  readonly asked: string[]
}

const ARGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage']

/** A Chromium with one tab, which ends with the test. */
export async function startChromium (t: Test, options: BrowserContextOptions = {}): Promise<Tab> {
  if (executable === undefined) throw new Error(`these tests need a Chromium at one of ${PLACES.join(', ')}`)
  const folder = await mkdtemp(join(tmpdir(), 'valet-chromium-'))
  const context = await chromium.launchPersistentContext(folder, { executablePath: executable, headless: true, args: ARGS, timeout: 60_000, viewport: { width: 1280, height: 900 }, ...options })
  t.teardown(async () => {
    await context.close()
    await rm(folder, { recursive: true, force: true, maxRetries: 5 })
  })
  context.setDefaultTimeout(20_000)
  const page = context.pages()[0] ?? await context.newPage()
  const complaints: string[] = []
  const asked: string[] = []
  page.on('console', (message) => { if (['error', 'warning'].includes(message.type())) complaints.push(`${message.type()}: ${message.text()}`) })
  page.on('pageerror', (error) => complaints.push(`thrown: ${error.message}`))
  page.on('dialog', (dialog) => { complaints.push(`dialog: ${dialog.message()}`); void dialog.dismiss() })
  page.on('request', (request) => asked.push(request.url()))
  return { page, complaints, asked }
}
