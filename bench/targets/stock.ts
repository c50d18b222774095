import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { join } from 'node:path'
import { accepts, freePort, start, until } from '../lib/children.js'
import { SESSION_HEADER, type Setting, type Target } from './target.js'

/** @fastify/http-proxy as it comes: the yardstick for what mcp-valet's work may cost. */
export async function startStock ({ upstream, secrets, dir }: Setting): Promise<Target> {
  const port = await freePort()
  const script = fileURLToPath(new URL('./stock-proxy.mjs', import.meta.url))
  const child = start(process.execPath, [script], join(dir, 'stock.log'), {
    BENCH_UPSTREAM: `http://127.0.0.1:${upstream.port}`,
    BENCH_TOKEN: secrets.token,
    BENCH_PORT: String(port),
  })
  await until(child, () => accepts(port))
  const { version } = createRequire(import.meta.url)('@fastify/http-proxy/package.json') as { version: string }
  return { name: 'stock', version, port, headers: { [SESSION_HEADER]: secrets.sessionKey }, child }
}
