import { put } from './agents/visitor.js'
import { callOnce } from './agents/caller.js'
import { between, type World } from './world.js'

export interface Disturbances { outages: number, revocations: number, reloads: number, reloadable: boolean }

/** What comes over the whole of it now and then, evenly over the run. */
export function disturb (world: World, totalMs: number, done: Disturbances): Array<Promise<void>> {
  const every = Math.min(150_000, totalMs / 5)
  return [outages(world, every, done), revocations(world, every * 0.8, done), reloads(world, every * 0.7, done)]
}

/** The issuer answers nobody for longer than a token lives, where the run is long enough for that. */
async function outages (world: World, every: number, done: Disturbances): Promise<void> {
  for (;;) {
    await world.wait(every * between(0.7, 1.1))
    if (world.signal.aborted) return
    world.issuer.outage = true
    done.outages++
    await world.wait(Math.min(18_000, every / 3) * between(0.5, 1))
    world.issuer.outage = false
  }
}

/** A grant ends at its issuer; its owner notices, logs in again and puts the new tokens, and all goes on. */
async function revocations (world: World, every: number, done: Disturbances): Promise<void> {
  const name = 'wanda'
  await put(world, name)
  const { agent } = await world.open(name, 'steady')
  for (let due = performance.now() + every; !world.signal.aborted;) {
    const verdict = await callOnce(world, name, agent)
    if (performance.now() > due) {
      due = performance.now() + every
      world.issuer.issuer.revoke(name)
      world.ledger.revoked(name)
      done.revocations++
    } else if (verdict === 'injected' && world.ledger.isRevoked(name)) {
      await world.wait(between(500, 3_000))
      await put(world, name).then(() => world.ledger.restored(name), (error: Error) => world.ledger.wrong('the admin API failed', error.message))
    }
    await world.wait(between(200, 600))
  }
  agent.close()
}

async function reloads (world: World, every: number, done: Disturbances): Promise<void> {
  done.reloadable = world.sidecar.reloads
  if (!done.reloadable) return
  for (let turn = 1; ; turn++) {
    await world.wait(every * between(0.7, 1.1))
    if (world.signal.aborted) return
    if (turn % 4 === 0 && !await world.sidecar.reload({ ...world.config(turn), nonsense: true }, 'refused')) world.ledger.wrong('a bad config was not refused', `in turn ${turn}`)
    if (await world.sidecar.reload(world.config(turn), 'ok')) done.reloads++
    else world.ledger.wrong('a config that was not taken up', `in turn ${turn}`)
  }
}
