import { readFile } from 'node:fs/promises'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { ControlError } from '../../control.js'
import { figuresText } from './figures.js'
import type { AdminOptions } from './options.js'
import { hostGuard, strangerGuard, type StrangerGuard } from './stranger.js'
import { oncePerTick, Watchers } from './watchers.js'

const MOST_WATCHERS = 8

/** Where each file is served, and as what. */
const FILES = [
  ['/', 'index.html', 'text/html; charset=utf-8'],
  ['/page/page.css', 'page.css', 'text/css; charset=utf-8'],
  ['/page/icon.svg', 'icon.svg', 'image/svg+xml'],
  ...['main', 'calls', 'dom', 'histogram', 'names', 'reckon', 'stream'].map((name) => [`/page/${name}.js`, `${name}.js`, 'text/javascript; charset=utf-8'] as const),
] as const

/** Nothing but these files, and no script that makes markup of a text: names come from agents and issuers. */
const POLICY = [
  "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self'",
  "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'", "require-trusted-types-for 'script'", "trusted-types 'none'",
].join('; ')

const HEADERS = {
  'content-security-policy': POLICY,
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
} as const

/**
 * The status page: files without anything of this sidecar in them, and the figures that /metrics has. What has names in it
 * comes from /v1, for the admin token.
 */
export async function statusPage (app: FastifyInstance, options: AdminOptions): Promise<void> {
  const { settings, clock, emit } = options
  const refuse = (guard: StrangerGuard) => async (request: FastifyRequest): Promise<void> => {
    const code = guard(request.raw)
    if (code === undefined) return
    emit({ event: 'denied', request_id: request.id, code })
    throw new ControlError(code)
  }
  const judgeHost = hostGuard(settings)
  app.addHook('onRequest', async (_request, reply) => { reply.headers(HEADERS) })
  for (const [url, file, type] of FILES) {
    const text = await readFile(new URL(`page/${file}`, import.meta.url), 'utf8')
    app.get(url, { onRequest: refuse(judgeHost) }, async (_request, reply) => await reply.type(type).send(text))
  }
  const watchers = new Watchers({ clock, emit, most: MOST_WATCHERS, until: options.ending })
  const figures = oncePerTick(() => figuresText(options))
  app.get('/figures', { onRequest: refuse(strangerGuard(settings)) }, async (request, reply) => {
    await watchers.serve(reply, async (tick) => {
      // The config may be another one since.
      const code = judgeHost(request.raw)
      if (code !== undefined) throw new ControlError(code)
      return await figures(tick)
    })
  })
}
