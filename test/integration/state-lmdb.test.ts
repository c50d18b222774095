import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { open } from 'lmdb'
import t, { type Test } from 'tap'
import { lmdbStore } from '../../src/state/lmdb.js'
import { Seal, StateKey } from '../../src/state/seal.js'
import type { Store } from '../../src/state/store.js'
import { Vault } from '../../src/state/vault.js'
import { manualClock } from '../helpers/manual-clock.js'
import { startStateProcess } from '../helpers/state-process.js'

const folder = (t: Test): string => join(t.testdir(), 'state')
const bytes = (text: string): Buffer => Buffer.from(text)

/** The store's own timers keep no process alive, and a test in one process has nothing else that does. */
function stayAlive (t: Test): void {
  const alive = setInterval(() => {}, 1_000)
  t.teardown(() => clearInterval(alive))
}

async function opened (t: Test, path: string, options?: Parameters<typeof lmdbStore>[1]): Promise<Store> {
  const store = await lmdbStore(path, options)
  t.teardown(async () => await store.close())
  return store
}

t.test('four processes that count under one lease lose nothing', async (t) => {
  const path = folder(t)
  const peers = await Promise.all(Array.from({ length: 4 }, async () => await startStateProcess(t, { path })))
  await Promise.all(peers.map(async (peer) => await peer.ask({ verb: 'count', key: 'n', times: 40 })))
  t.equal(await peers[0]?.ask({ verb: 'read', key: 'n' }), '160')
})

t.test('a lease whose holder was killed is free at once, and the others go on', async (t) => {
  const path = folder(t)
  // Whoever waited for the lease to run out would be refused before.
  const [holder, ...others] = await Promise.all(Array.from({ length: 3 }, async () => await startStateProcess(t, { path, waitMs: 8_000 })))
  await holder?.ask({ verb: 'hold', key: 'n' })
  const counts = others.map(async (peer) => await peer.ask({ verb: 'count', key: 'n', times: 5 }))
  holder?.signal('SIGKILL')
  await Promise.all(counts)
  t.equal(await others[0]?.ask({ verb: 'read', key: 'n' }), '10')
})

t.test('processes that are killed in the middle of their work leave the state whole', async (t) => {
  const path = folder(t)
  const start = async (): ReturnType<typeof startStateProcess> => await startStateProcess(t, { path })
  const [survivor, ...victims] = await Promise.all([start(), start(), start(), start()])
  const work = survivor?.ask({ verb: 'count', key: 'n', times: 60 })
  for (const victim of victims) {
    void victim?.ask({ verb: 'count', key: 'n', times: 1_000 }).catch(() => {})
    await new Promise((resolve) => setTimeout(resolve, 100))
    victim?.signal('SIGKILL')
  }
  await work
  t.ok(Number(await survivor?.ask({ verb: 'read', key: 'n' })) >= 60)
  const after = await start()
  await after.ask({ verb: 'count', key: 'n', times: 5 })
})

t.test('row 14: who was stopped for longer than its lease does not overwrite what was saved meanwhile', async (t) => {
  const path = folder(t)
  const [loser, winner] = await Promise.all([startStateProcess(t, { path, leaseMs: 700 }), startStateProcess(t, { path, leaseMs: 700 })])
  await loser.ask({ verb: 'hold', key: 'pair' })
  loser.signal('SIGSTOP')
  await winner.ask({ verb: 'hold', key: 'pair' })
  t.match(await winner.ask({ verb: 'finish', key: 'pair', value: 'of the winner' }), { written: 'written' })
  loser.signal('SIGCONT')
  t.strictSame(await loser.ask({ verb: 'finish', key: 'pair', value: 'of the loser' }), { held: false, lost: true, written: 'LeaseLostError' })
  t.equal(await loser.ask({ verb: 'read', key: 'pair' }), 'of the winner')
  await loser.ask({ verb: 'count', key: 'later', times: 1 })
})

t.test('who was stopped for longer than its lease, and nobody wanted it, may save what it has', async (t) => {
  const path = folder(t)
  const peer = await startStateProcess(t, { path, leaseMs: 300 })
  await peer.ask({ verb: 'hold', key: 'pair' })
  peer.signal('SIGSTOP')
  await new Promise((resolve) => setTimeout(resolve, 600))
  peer.signal('SIGCONT')
  t.strictSame(await peer.ask({ verb: 'finish', key: 'pair', value: 'new' }), { held: false, lost: true, written: 'written' })
})

t.test('row 3: work that takes longer than its lease keeps it, as it gives signs of life', async (t) => {
  const path = folder(t)
  stayAlive(t)
  const holder = await startStateProcess(t, { path, leaseMs: 1_500 })
  const other = await opened(t, path, { waitMs: 5_000 })
  await holder.ask({ verb: 'hold', key: 'pair' })
  await t.rejects(other.lease('pair', async () => {}), { name: 'StateError', message: /not to be had within 5 s/ })
  t.strictSame(await holder.ask({ verb: 'finish', key: 'pair', value: 'new' }), { held: true, lost: false, written: 'written' })
  t.equal(await other.lease('pair', async () => Buffer.from(await other.read('pair') as Uint8Array).toString()), 'new')
})

t.test('row 3: the same in one process, and a lease that is taken by force is lost', async (t) => {
  const path = folder(t)
  stayAlive(t)
  const [store, other] = [await opened(t, path, { leaseMs: 300 }), await opened(t, path, { leaseMs: 300, waitMs: 900 })]
  await store.lease('k', async (lease) => {
    await t.rejects(other.lease('k', async () => {}), { name: 'StateError' })
    t.ok(lease.held())
    const database = open<Buffer, string>({ path: join(path, 'valet.mdb'), encoding: 'binary', maxDbs: 4 })
    database.removeSync('~lease/k')
    await database.close()
    await new Promise((resolve) => lease.lost.addEventListener('abort', resolve))
    await t.rejects(store.write('k', bytes('x'), { lease }), { name: 'LeaseLostError' })
  })
})

t.test('what other processes write is told', async (t) => {
  const path = folder(t)
  const [writer, listener] = await Promise.all([startStateProcess(t, { path }), startStateProcess(t, { path })])
  await listener.ask({ verb: 'watch' })
  await writer.ask({ verb: 'write', key: 'a', value: '1' })
  await listener.hears((key) => key === 'a')
  await listener.ask({ verb: 'write', key: 'own', value: '1' })
  await writer.ask({ verb: 'delete', key: 'a' })
  await writer.ask({ verb: 'write', key: 'b', value: '1' })
  await listener.hears((key) => key === 'b')
  t.ok(listener.told.every((key) => key === 'a' || key === 'b'))
})

t.test('who could not keep up with the changes is told that anything may have changed', async (t) => {
  const path = folder(t)
  stayAlive(t)
  const store = await opened(t, path)
  const listener = await startStateProcess(t, { path })
  await listener.ask({ verb: 'watch' })
  listener.signal('SIGSTOP')
  for (let i = 0; i < 1_100; i++) await store.write(`r/${i % 7}`, bytes('x'))
  listener.signal('SIGCONT')
  await listener.hears((key) => key === null)
  const log = open<Buffer, string>({ path: join(path, 'valet.mdb'), encoding: 'binary', maxDbs: 4 })
  t.equal(log.getCount({ start: '~log/', end: '~log/~' }), 1_024, 'the log of changes does not grow without end')
  await log.close()
})

t.test('a lease that could not be given back is free for the same store', async (t) => {
  const path = folder(t)
  stayAlive(t)
  const store = await opened(t, path, { waitMs: 300 })
  await store.lease('k', async () => {
    const database = open<Buffer, string>({ path: join(path, 'valet.mdb'), encoding: 'binary', maxDbs: 4 })
    const lease = database.getBinary('~lease/k') as Buffer
    // As if it were left there: what is given back is another one.
    database.putSync('~lease/k', bytes(lease.toString().replace('"fence":1', '"fence":99')))
    await database.close()
  })
  t.equal(await store.lease('k', async () => 'had'), 'had')
})

t.test('a lease of a process of which nothing is known runs out while it is looked at', async (t) => {
  const path = folder(t)
  stayAlive(t)
  const store = await opened(t, path)
  const database = open<Buffer, string>({ path: join(path, 'valet.mdb'), encoding: 'binary', maxDbs: 4 })
  const foreign = (owner: object): void => database.putSync('~lease/k', bytes(JSON.stringify({ store: 'other', fence: 7, beat: 0, ms: 200, owner })))
  foreign({ place: 'another machine', pid: process.pid })
  t.equal(await store.lease('k', async () => 'had'), 'had')
  database.putSync('~lease/k', bytes('no lease'))
  t.equal(await store.lease('k', async () => 'had'), 'had', 'and what is none is nobody\'s')
  await database.close()
})

const CONTAINER = ['unshare', '--pid', '--fork', '--kill-child', '--mount-proc']
const noContainers = spawnSync('unshare', [...CONTAINER.slice(1), 'true']).status !== 0 && 'no PID namespace can be made here'

t.test('containers whose processes have the same number are told that they cannot share a folder', { skip: noContainers }, async (t) => {
  const path = folder(t)
  const first = await startStateProcess(t, { path }, CONTAINER)
  await t.rejects(startStateProcess(t, { path }, CONTAINER), { message: /StateError: the state folder .* is open in another container, in a process with the same number as this one \(1\).*use driver: redis/ })
  await first.ask({ verb: 'count', key: 'n', times: 3 })
})

t.test('what is over is forgotten, and what was written anew for longer is not', async (t) => {
  const path = folder(t)
  const clock = manualClock()
  const store = await opened(t, path, { clock })
  const now = clock.now()
  for (let i = 0; i < 1_200; i++) await store.write(`s/${i}`, bytes('x'), { expiresAt: now + 1_000 })
  await store.write('s/7', bytes('y'), { expiresAt: now + 10 ** 9 })
  await store.write('s/8', bytes('y'))
  await store.delete('s/9')
  await clock.advance(700_000)
  const left: string[] = []
  for await (const [key] of store.list('')) left.push(key)
  t.strictSame(left.sort(), ['s/7', 's/8'])
})

t.test('a folder of a newer version is refused', async (t) => {
  const path = folder(t)
  await (await lmdbStore(path)).close()
  const database = open<Buffer, string>({ path: join(path, 'valet.mdb'), encoding: 'binary', maxDbs: 4 })
  database.putSync('~format', bytes('2'))
  await database.close()
  await t.rejects(lmdbStore(path), { name: 'StateError', message: /was written by a newer version of mcp-valet: run that version, or name another folder/ })
})

t.test('a folder of version 0.1, which had no format, is taken over', async (t) => {
  const path = folder(t)
  mkdirSync(path)
  const database = open<Buffer, string>({ path: join(path, 'valet.mdb'), encoding: 'binary', maxDbs: 4 })
  database.putSync('credential/a/b', bytes('kept'))
  await database.close()
  const store = await opened(t, path)
  t.equal(Buffer.from(await store.read('credential/a/b') as Uint8Array).toString(), 'kept')
})

for (const [what, damage] of Object.entries<(file: string) => void>({
  'is something else': (file) => writeFileSync(file, 'x'.repeat(100_000)),
  'is a short text': (file) => writeFileSync(file, 'not a database'),
  'was cut off within its first page': (file) => truncateSync(file, 100),
  'speaks of more than there can be': (file) => {
    const content = readFileSync(file)
    for (const page of [0, 4_096]) content.fill(0xff, page + 144, page + 150)
    writeFileSync(file, content)
  },
})) {
  t.test(`a state file that ${what} is refused with what to do`, async (t) => {
    const path = folder(t)
    const store = await lmdbStore(path)
    await store.write('a', bytes('1'))
    await store.close()
    damage(join(path, 'valet.mdb'))
    const refused = /is no state of mcp-valet, or is damaged: bring it back from a backup/
    await t.rejects(lmdbStore(path), { name: 'StateError', message: refused })
    await t.rejects(startStateProcess(t, { path }), { message: refused }, 'also in a process that has not had it open')
  })
}

t.test('a state file that was cut off further on says so where a page is missing, and ends no process', async (t) => {
  const path = folder(t)
  const store = await lmdbStore(path)
  for (let i = 0; i < 200; i++) await store.write(`r/${i}`, Buffer.alloc(1_000, 1))
  await store.close()
  const file = join(path, 'valet.mdb')
  truncateSync(file, 16_384)
  // Where the missing page is one that is read first, it says so at the start.
  const answers = await startStateProcess(t, { path }).then(
    async (peer) => await Promise.all(Array.from({ length: 200 }, async (_, i) => await peer.ask({ verb: 'read', key: `r/${i}` }).then(() => 'read', (error: Error) => error.message))),
    (error: Error) => [error.message])
  t.match(answers.find((answer) => answer !== 'read'), /StateError: the state folder .* cannot be (?:used|opened) \(the state file is damaged.*\): end mcp-valet and bring the state folder back/)
})

/** Does it with the rights of somebody who owns nothing here. */
async function asNobody<T> (work: () => Promise<T>): Promise<T> {
  if (process.getuid?.() !== 0) return await work()
  process.seteuid?.(65_534)
  try {
    return await work()
  } finally {
    process.seteuid?.(0)
  }
}

t.test('a folder or a file that may only be read is refused with what to do', { skip: process.platform === 'win32' && 'there are no modes' }, async (t) => {
  const parent = mkdtempSync(join(tmpdir(), 'valet-modes-'))
  t.teardown(() => rmSync(parent, { recursive: true, force: true }))
  chmodSync(parent, 0o555)
  const advice = /cannot be opened \(EACCES\): make it writable for this user, or name another under state\.path/
  await asNobody(async () => await t.rejects(lmdbStore(join(parent, 'state')), { name: 'StateError', message: advice }))
  chmodSync(parent, 0o755)
  const path = join(parent, 'there')
  await (await lmdbStore(path)).close()
  for (const [name, mode] of [[path, 0o555], [join(path, 'valet.mdb'), 0o444], [join(path, 'valet.mdb-lock'), 0o444]] as const) chmodSync(name, mode)
  await asNobody(async () => await t.rejects(lmdbStore(path), { name: 'StateError', message: /\((?:EACCES|EPERM)\): make it writable/ }))
  chmodSync(path, 0o755)
})

const prlimit = (fsize: string): void => { execFileSync('prlimit', ['--pid', String(process.pid), `--fsize=${fsize}:`]) }
const noLimits = spawnSync('prlimit', ['--version']).status !== 0 && 'there is no prlimit(1) here'
// Besides refusing the write the system sends a signal, which Node ignores but the test runner would end the process for.
process.on('SIGXFSZ', () => {})

t.test('row 11: on a full disk what is small is saved for a while, and the rest is refused with what to do', { skip: noLimits }, async (t) => {
  const path = folder(t)
  stayAlive(t)
  const store = await opened(t, path)
  const vault = new Vault(store, new Seal(StateKey.random()))
  for (let i = 0; i < 20; i++) await vault.lease('pair', async (lease) => await vault.write('pair', { n: i }, { lease }))
  prlimit(String(statSync(join(path, 'valet.mdb')).size))
  t.teardown(() => prlimit('unlimited'))
  for (let i = 0; i < 200; i++) await vault.lease('pair', async (lease) => await vault.write('pair', { n: i }, { lease }))
  t.strictSame(await vault.read('pair'), { n: 199 })
  await t.rejects(vault.write('large', 'x'.repeat(100_000)), { name: 'StateError', message: /cannot be saved \(EFBIG\)/ })
  let refused: unknown
  for (let i = 0; i < 200 && refused === undefined; i++) refused = await vault.write(`small/${i}`, 'x'.repeat(10_000)).catch((error: unknown) => error)
  t.match(refused, { name: 'StateError', message: /cannot be saved \(EFBIG\)/ }, 'until what is set aside is used up')
  await t.rejects(vault.lease('pair', async () => {}), { name: 'StateError', message: /the lease on pair cannot be had \(EFBIG\): free some space there/ })
  t.strictSame(await vault.read('pair'), { n: 199 })
  prlimit('unlimited')
  await vault.write('large', 'x'.repeat(100_000))
})
