import { setTimeout as sleep } from 'node:timers/promises'
import { readRedisUrl } from '../../src/config/redis-url.js'
import { lmdbStore } from '../../src/state/lmdb.js'
import { redisStore } from '../../src/state/redis.js'
import type { Lease, Store } from '../../src/state/store.js'

/** What `state-process.ts` starts: one process of several that share a state, told by its parent what to do. */
export interface PeerStore { readonly path?: string, readonly url?: string, readonly prefix?: string, readonly leaseMs?: number, readonly waitMs?: number }

export type PeerCall =
  | { readonly verb: 'count', readonly key: string, readonly times: number }
  | { readonly verb: 'hold', readonly key: string }
  | { readonly verb: 'finish', readonly key: string, readonly value: string }
  | { readonly verb: 'write' | 'read' | 'delete', readonly key: string, readonly value?: string }
  | { readonly verb: 'watch' | 'close' }

const { path, url, prefix = 'mcp-valet:', ...times } = JSON.parse(process.argv[2] as string) as PeerStore
const store: Store = path === undefined ? await redisStore(readRedisUrl(url as string), { prefix, ...times }) : await lmdbStore(path, times)

/** Leases that are held, and how to give them back. */
const held = new Map<string, { lease: Lease, release: () => void, ended: Promise<void> }>()

const text = (value: Uint8Array | undefined): string | undefined => value === undefined ? undefined : Buffer.from(value).toString()

async function answer (call: PeerCall): Promise<unknown> {
  switch (call.verb) {
    case 'count':
      for (let done = 0; done < call.times; done++) {
        await store.lease(call.key, async (lease) => {
          const before = Number(text(await store.read(call.key)) ?? 0)
          await sleep(Math.random() * 3)
          await store.write(call.key, Buffer.from(String(before + 1)), { lease })
        })
      }
      return call.times
    case 'hold':
      return await new Promise((resolve, reject) => {
        let release = (): void => {}
        const ended = store.lease(call.key, async (lease) => {
          const released = new Promise<void>((resolve) => { release = resolve })
          held.set(call.key, { lease, release, get ended () { return ended } })
          resolve(true)
          await released
        })
        ended.catch(reject)
      })
    case 'finish': {
      const { lease, release, ended } = held.get(call.key) as NonNullable<ReturnType<typeof held.get>>
      const still = { held: lease.held(), lost: lease.lost.aborted }
      const written = await store.write(call.key, Buffer.from(call.value), { lease }).then(() => 'written', (error: Error) => error.name)
      release()
      await ended
      return { ...still, written }
    }
    case 'write': return await store.write(call.key, Buffer.from(call.value as string))
    case 'read': return text(await store.read(call.key))
    case 'delete': return await store.delete(call.key)
    case 'watch':
      store.watch((key) => { process.send?.({ told: key ?? null }) })
      return true
    case 'close': return await store.close()
  }
}

process.on('message', ({ id, call }: { id: number, call: PeerCall }) => {
  answer(call).then(
    (value) => process.send?.({ id, value }),
    (error: Error) => process.send?.({ id, error: `${error.name}: ${error.message}` }))
})
process.on('disconnect', () => process.exit())
process.send?.({ ready: true })
