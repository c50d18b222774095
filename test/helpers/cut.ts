import { connect, createServer, type AddressInfo, type NetConnectOpts, type Socket } from 'node:net'
import type { Test } from 'tap'

/** A TCP hop that can be cut: in between nothing passes and nobody gets through, and afterwards it is as before. */
export interface Hop {
  readonly port: number
  /** Breaks every connection, and new ones at once. */
  cut (): void
  /** Lets connections stand and passes nothing on, as a network that has gone away. */
  stall (): void
  mend (): void
}

export async function startHop (t: Test, target: NetConnectOpts): Promise<Hop> {
  const pairs = new Set<readonly [Socket, Socket]>()
  let state: 'open' | 'cut' | 'stalled' = 'open'
  const server = createServer((near) => {
    if (state === 'cut') return near.resetAndDestroy()
    const far = connect(target)
    const pair = [near, far] as const
    pairs.add(pair)
    for (const [from, to] of [[near, far], [far, near]] as const) {
      from.on('error', () => {})
      from.on('close', () => { to.destroy(); pairs.delete(pair) })
      from.on('data', (chunk) => { to.write(chunk) })
      if (state === 'stalled') from.pause()
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const each = (act: (socket: Socket) => void): void => { for (const pair of [...pairs]) pair.forEach(act) }
  t.teardown(async () => {
    each((socket) => socket.destroy())
    await new Promise((resolve) => server.close(resolve))
  })
  return {
    port: (server.address() as AddressInfo).port,
    cut () { state = 'cut'; each((socket) => socket.destroy()) },
    stall () { state = 'stalled'; each((socket) => socket.pause()) },
    mend () { state = 'open'; each((socket) => socket.resume()) },
  }
}
