import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { join } from 'node:path'
import { accepts, freePort, start, until } from '../lib/children.js'
import { SESSION_HEADER, type Setting, type Target, type TargetName } from './target.js'

/** @fastify/http-proxy as it comes: the yardstick for what mcp-valet's work may cost. */
export async function startStock (setting: Setting): Promise<Target> {
  const { version } = createRequire(import.meta.url)('@fastify/http-proxy/package.json') as { version: string }
  return await startScript('stock', version, './stock-proxy.mjs', setting)
}

/** node:http and undici with nothing around them: what is left when everything else has been taken away. */
export async function startFloor (setting: Setting): Promise<Target> {
  return await startScript('floor', `node ${process.versions.node}`, './floor-proxy.mjs', setting)
}

async function startScript (name: TargetName, version: string, script: string, { upstream, secrets, dir }: Setting): Promise<Target> {
  const port = await freePort()
  const child = start(process.execPath, [fileURLToPath(new URL(script, import.meta.url))], join(dir, `${name}.log`), {
    BENCH_UPSTREAM: `http://127.0.0.1:${upstream.port}`,
    BENCH_TOKEN: secrets.token,
    BENCH_PORT: String(port),
  })
  await until(child, () => accepts(port))
  return { name, version, port, headers: { [SESSION_HEADER]: secrets.sessionKey }, child }
}
