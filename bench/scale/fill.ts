/** Fills a state with principals and sessions, as `PUT /v1/principals` and `POST /v1/sessions` would have done. */
import { writeFileSync } from 'node:fs'
import { loadConfigFile } from '../../src/config/load.js'
import { openState } from '../../src/state/open.js'
import { Register } from '../../src/credential/register.js'
import { Pepper } from '../../src/caller/pepper.js'
import { SessionBook } from '../../src/caller/sessions.js'
import { Directory } from '../../src/caller/directory.js'
import { mintSessionKey } from '../../src/caller/session-key.js'
import { systemClock as clock } from '../../src/clock.js'

const [path = '', keysFile = '', principals = '0', sessions = '0'] = process.argv.slice(2)
/** Written side by side: a store on a network takes as many round trips as there are records otherwise. */
const AT_ONCE = 64
/** Keys that calls are made with; all of them would be a large file. */
const SAMPLE = 2_000

const config = await loadConfigFile(path, process.env)
const { vault, key: stateKey } = await openState(config.state)
const register = new Register(vault, clock)
const directory = new Directory((await Pepper.open(vault, stateKey)).key, clock)
const book = new SessionBook({ directory, vault, principals: { has: () => true, known: async () => true }, clock, emit: () => {} })
const nameOf = (nth: number): string => `principal-${nth % Number(principals)}`

await each(Number(principals), async (nth) => {
  await register.put(nameOf(nth), { credentials: { tools: { access_token: mintSessionKey().reveal(), refresh_token: mintSessionKey().reveal(), expires_in: 864_000 } } })
})
const keys: string[] = []
await each(Number(sessions), async (nth) => {
  const { key } = await book.create({ principal: nameOf(nth), agent: `agent-${nth}`, ttlMs: 864_000_000 })
  if (nth % Math.max(1, Math.floor(Number(sessions) / SAMPLE)) === 0) keys.push(key.reveal())
})
writeFileSync(keysFile, JSON.stringify(keys), { mode: 0o600 })
await vault.close()

async function each (count: number, work: (nth: number) => Promise<void>): Promise<void> {
  let next = 0
  await Promise.all(Array.from({ length: AT_ONCE }, async () => { while (next < count) await work(next++) }))
}
