import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { systemClock } from '../../../src/clock.js'
import { watchFiles } from '../../../src/cli/file-watch.js'
import { manualClock } from '../../helpers/manual-clock.js'
import { eventually } from '../../helpers/peers.js'

interface Watching { readonly told: string[][], stop (): Promise<void>, /** Resolves when every file has been looked at again. */ looked (): Promise<void> }

function watching (t: Test, files: string[]): Watching {
  const told: string[][] = []
  const stop = new AbortController()
  let looks = 0
  const ended = watchFiles({
    clock: systemClock,
    everyMs: 10,
    stop: stop.signal,
    files: () => { looks++; return files },
    onChange: async (changed) => { told.push([...changed]) },
  })
  const end = async (): Promise<void> => { stop.abort(); await ended }
  t.teardown(end)
  const looked = async (): Promise<void> => {
    const enough = looks + 2
    await eventually(() => looks >= enough)
  }
  return { told, stop: end, looked }
}

t.test('row 52: tells of a file that was written, replaced, taken away or is back, and of no other', async (t) => {
  const dir = t.testdir({ a: '1', b: '1' })
  const [a, b] = [join(dir, 'a'), join(dir, 'b')]
  const { told, looked } = watching(t, [a, b])
  await looked()
  for (const change of [
    () => writeFileSync(a, '22'),
    () => { writeFileSync(join(dir, 'next'), '33'); renameSync(join(dir, 'next'), a) },
    () => rmSync(a),
    () => writeFileSync(a, '22'),
  ]) {
    const before = told.length
    change()
    await eventually(() => told.length === before + 1, 'word of a change')
    t.same(told.at(-1), [a])
    await looked()
    t.equal(told.length, before + 1, 'once')
  }
})

t.test('row 52: a mount that swaps a link, as Kubernetes does, is a change', async (t) => {
  const dir = t.testdir({ one: { key: '1' }, two: { key: '2' } })
  symlinkSync('one', join(dir, 'data'))
  const { told, looked } = watching(t, [join(dir, 'data', 'key')])
  await looked()
  symlinkSync('two', join(dir, 'next'))
  renameSync(join(dir, 'next'), join(dir, 'data'))
  await eventually(() => told.length === 1)
  t.same(told, [[join(dir, 'data', 'key')]])
})

t.test('row 52: files that are named later are looked after from then on; what is no file never changes', async (t) => {
  const dir = t.testdir({ a: '1', b: '1' })
  const files = [join(dir, 'a'), dir]
  const { told, stop, looked } = watching(t, files)
  await looked()
  files.push(join(dir, 'b'))
  await looked()
  t.same(told, [], 'a file that is new here is none that has changed')
  mkdirSync(join(dir, 'c'))
  writeFileSync(join(dir, 'b'), '22')
  await eventually(() => told.length === 1)
  t.same(told, [[join(dir, 'b')]])
  await stop()
  writeFileSync(join(dir, 'b'), '333')
  await new Promise((resolve) => setTimeout(resolve, 60))
  t.equal(told.length, 1, 'nothing is told after its end')
})

t.test('what a change takes to be taken up does not put off the next look', async (t) => {
  const dir = t.testdir({ a: '1' })
  const a = join(dir, 'a')
  const clock = manualClock()
  const stop = new AbortController()
  const waits: number[] = []
  let told = 0
  const ended = watchFiles({
    clock: { ...clock, after: (ms, callback) => { waits.push(ms); const timer = setTimeout(callback, 1); return () => clearTimeout(timer) } },
    stop: stop.signal,
    files: () => [a],
    onChange: async () => { told++; await clock.advance(600_000) },
  })
  await eventually(() => waits.length > 1)
  writeFileSync(a, '22')
  await eventually(() => told === 1)
  const until = waits.length + 2
  await eventually(() => waits.length > until)
  stop.abort()
  await ended
  t.same([...new Set(waits)], [1_000])
})
