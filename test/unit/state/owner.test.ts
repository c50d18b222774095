import { spawn } from 'node:child_process'
import { once } from 'node:events'
import t from 'tap'
import { isGone, thisProcess } from '../../../src/state/owner.js'

const onLinux = process.platform !== 'linux' && 'without /proc less is known'

t.test('a process that lives is not gone, one that has ended is', async (t) => {
  const own = thisProcess()
  t.notOk(isGone(own))
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'])
  const { started: _started, ...of } = own
  const owner = { ...of, pid: child.pid as number }
  t.notOk(isGone(owner))
  child.kill('SIGSTOP')
  t.notOk(isGone(owner), 'nor one that is stopped')
  child.kill('SIGKILL')
  await once(child, 'exit')
  t.ok(isGone(owner))
})

t.test('a number that was given to another process is told by when that one started', { skip: onLinux }, async (t) => {
  t.ok(isGone({ ...thisProcess(), started: '1' }))
})

t.test('nothing is known of a process elsewhere', async (t) => {
  t.notOk(isGone({ place: 'another container', pid: 2 ** 22 - 1 }))
})

t.test('one that has ended and was not asked for its outcome is gone', { skip: onLinux }, async (t) => {
  // The shell starts it and then becomes another program, which never asks.
  const parent = spawn('/bin/sh', ['-c', 'sleep 0 & echo $!; exec sleep 60'])
  t.teardown(() => parent.kill('SIGKILL'))
  const [line] = await once(parent.stdout, 'data') as [Buffer]
  const owner = { place: thisProcess().place, pid: Number(line.toString()), started: '' }
  while (!isGone(owner)) await new Promise((resolve) => setTimeout(resolve, 20))
  t.pass()
})
