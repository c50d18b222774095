import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { inspect } from 'node:util'
import t, { type Test } from 'tap'
import { type SecretRefOptions, type SecretSource, secretRef, SecretRefError } from '../../../src/config/secret-ref.js'

const CANARY = 'canary-5f2a'

async function read (from: SecretSource, options: Partial<SecretRefOptions> = {}): Promise<string> {
  return (await secretRef(from, { env: {}, ...options }).read()).reveal()
}

/** The message of the error; fails the test where it is of another class or holds the canary. */
async function refusal (t: Test, from: SecretSource, options: Partial<SecretRefOptions> = {}): Promise<string> {
  const error: unknown = await read(from, options).then(() => undefined, (reason: unknown) => reason)
  t.type(error, SecretRefError)
  t.notMatch(inspect(error, { depth: 5 }), CANARY)
  return (error as Error).message
}

function file (t: Test, content: string | Buffer, mode = 0o600): string {
  const path = join(t.testdir(), 'secret')
  writeFileSync(path, content)
  chmodSync(path, mode)
  return path
}

t.test('env', async (t) => {
  const env: NodeJS.ProcessEnv = { NAME: 'one' }
  const ref = secretRef({ env: 'NAME' }, { env })
  t.equal(ref.source, 'env NAME')
  t.equal((await ref.read()).reveal(), 'one')
  env.NAME = 'two\n'
  t.equal((await ref.read()).reveal(), 'two', 'read each time, without the newline at its end')
  t.equal(await refusal(t, { env: 'NAME' }), 'the environment variable NAME is not set')
  t.equal(await refusal(t, { env: 'NAME' }, { env: { NAME: '' } }), 'env NAME is empty')
  t.equal(await refusal(t, { env: 'NAME' }, { env: { NAME: '\r\n\n' } }), 'env NAME is empty')
})

t.test('what could not be sent in a header is refused', async (t) => {
  const bad = async (NAME: string, options = {}) => await refusal(t, { env: 'NAME' }, { env: { NAME }, ...options })
  t.equal(await bad(`${CANARY}\nX: y`), 'env NAME holds more than one line')
  t.equal(await bad(`${CANARY}\rX`), 'env NAME holds more than one line')
  t.equal(await bad(`${CANARY}\0`), 'env NAME holds control characters')
  t.equal(await bad(`${CANARY}\x1b[0m`), 'env NAME holds control characters')
  t.equal(await bad(`a\nb\0${CANARY}`, { multiline: true }), 'env NAME holds control characters')
  t.equal(await read({ env: 'NAME' }, { env: { NAME: 'a\r\nb\n' }, multiline: true }), 'a\r\nb')
})

t.test('file', async (t) => {
  const path = file(t, 'one\n')
  const ref = secretRef({ file: path }, { env: {} })
  t.equal(ref.source, `file ${path}`)
  t.equal((await ref.read()).reveal(), 'one')
  writeFileSync(path, 'two\r\n\n')
  t.equal((await ref.read()).reveal(), 'two', 'a rotated file is picked up')
})

t.test('a file that others can reach is refused, with the command that mends it', async (t) => {
  for (const mode of [0o604, 0o602, 0o601, 0o644, 0o777]) {
    const path = file(t, CANARY, mode)
    t.equal(await refusal(t, { file: path }), `${path} is open to every user of this machine: chmod o-rwx ${path}`, mode.toString(8))
    t.equal(await read({ file: path }, { shared: true }), CANARY, 'a certificate is no secret')
  }
  t.equal(await read({ file: file(t, CANARY, 0o640) }), CANARY, 'the group may read it')
  const dir = t.testdir({ "it's here": CANARY })
  chmodSync(join(dir, "it's here"), 0o644)
  t.match(await refusal(t, { file: join(dir, "it's here") }), /chmod o-rwx '.*it'\\''s here'$/)
})

t.test('Windows has no such mode', async (t) => {
  const path = file(t, 'one', 0o644)
  const platform = Object.getOwnPropertyDescriptor(process, 'platform') as PropertyDescriptor
  Object.defineProperty(process, 'platform', { ...platform, value: 'win32' })
  t.teardown(() => Object.defineProperty(process, 'platform', platform))
  t.equal(await read({ file: path }), 'one')
})

t.test('a symbolic link is followed to a regular file, as Kubernetes has it', async (t) => {
  const target = file(t, 'one')
  symlinkSync(target, `${target}-link`)
  t.equal(await read({ file: `${target}-link` }), 'one')
  chmodSync(target, 0o644)
  t.match(await refusal(t, { file: `${target}-link` }), /chmod/, 'the mode is the target\'s')
})

t.test('what is no regular file is refused, at once', { timeout: 5_000 }, async (t) => {
  const dir = t.testdir()
  mkdirSync(join(dir, 'd'))
  execFileSync('mkfifo', ['-m', '600', join(dir, 'fifo')])
  t.match(await refusal(t, { file: join(dir, 'd') }), /is not a regular file$/)
  t.match(await refusal(t, { file: join(dir, 'fifo') }), /is not a regular file$/)
  t.equal(await refusal(t, { file: join(dir, 'none') }), `there is no file ${join(dir, 'none')}`)
  t.match(await refusal(t, { file: join(dir, 'fifo', 'x') }), /cannot be read \(ENOTDIR\)$/)
})

t.test('a file that may not be read, and one that fails while it is read', async (t) => {
  const failing = (step: 'open' | 'stat', code: string) => t.mockImport<typeof import('../../../src/config/secret-file.js')>('../../../src/config/secret-file.js', {
    'node:fs/promises': {
      open: async () => {
        const error = Object.assign(new Error(CANARY), code === '' ? {} : { code })
        if (step === 'open') throw error
        return { stat: async () => { throw error }, close: async () => {} }
      },
    },
  })
  await t.rejects((await failing('open', 'EACCES')).readSecretFile('/x', false), { message: 'mcp-valet is not allowed to read /x' })
  await t.rejects((await failing('stat', 'EIO')).readSecretFile('/x', false), { message: '/x cannot be read (EIO)' })
  await t.rejects((await failing('stat', '')).readSecretFile('/x', false), { message: '/x cannot be read (unknown error)' })
})

t.test('a file is at most 64 KiB of UTF-8', async (t) => {
  t.equal((await read({ file: file(t, 'x'.repeat(65_536)) })).length, 65_536)
  t.match(await refusal(t, { file: file(t, 'x'.repeat(65_537)) }), /is larger than 64 KiB$/)
  t.match(await refusal(t, { file: file(t, Buffer.from([0x61, 0xff])) }), /^file .* is not UTF-8 text$/)
  t.match(await refusal(t, { file: file(t, '\n') }), /is empty$/)
  const started = Date.now()
  t.match(await refusal(t, { file: file(t, '\n'.repeat(65_000) + 'x') }), /more than one line$/)
  t.ok(Date.now() - started < 1_000, 'in linear time')
})

t.test('command', async (t) => {
  const node = (script: string): SecretSource => ({ command: [process.execPath, '-e', script, CANARY] })
  const program = process.execPath
  t.equal(secretRef(node(''), { env: {} }).source, `command ${program}`, 'arguments may be secret')
  t.equal(await read(node('console.log("one two")')), 'one two')
  t.equal(await read(node('console.log(process.env.NAME)'), { env: { NAME: 'three' } }), 'three')
  t.equal(await read({ command: ['echo', '$HOME;', '`id`'] }, { env: { PATH: process.env.PATH } }), '$HOME; `id`', 'no shell')
  t.equal(await read(node('process.stdin.on("end", () => console.log("eof")).resume()')), 'eof', 'nothing to wait for on stdin')
  t.equal(await refusal(t, node(`console.log("${CANARY}"); console.error("${CANARY}"); process.exit(3)`)), `command ${program} failed with exit code 3`)
  t.equal(await refusal(t, node('process.kill(process.pid, "SIGTERM"); setTimeout(() => {}, 5_000)')), `command ${program} was ended by SIGTERM`)
  t.equal(await refusal(t, node('setTimeout(() => {}, 60_000)'), { timeoutMs: 200 }), `command ${program} did not end within 0.2 s`)
  t.equal(await refusal(t, node('process.stdout.write("x".repeat(70_000))')), `command ${program} printed more than 64 KiB`)
  t.equal(await refusal(t, node('process.stdout.write(Buffer.from([255]))')), `the output of command ${program} is not UTF-8 text`)
  t.equal(await refusal(t, node('')), `command ${program} is empty`)
  t.equal(await refusal(t, { command: ['/no/such/program'] }), 'command /no/such/program was not found')
  t.equal(await refusal(t, { command: ['/etc/passwd'] }), 'command /etc/passwd could not be run (EACCES)')
  t.match(await refusal(t, node(''), { env: { NAME: `${CANARY}\0` } }), /could not be run \(ERR_INVALID_ARG_VALUE\)$/)
})

t.test('a command is ended with everything that it has started', async (t) => {
  const program = process.execPath
  const grandchild = 'require("child_process").spawn(process.execPath, ["-e", "process.send ? 0 : setInterval(() => {}, 1000)"], { stdio: ["ignore", 1, "ignore"] })'
  const pidFile = join(t.testdir(), 'pid')
  const script = (then: string): SecretSource => ({ command: [program, '-e', `const c = ${grandchild}; require("fs").writeFileSync(${JSON.stringify(pidFile)}, String(c.pid)); ${then}`] })
  const isGone = async (): Promise<boolean> => {
    const pid = Number(readFileSync(pidFile, 'utf8'))
    for (let turn = 0; turn < 500; turn++) {
      try {
        process.kill(pid, 0)
        // One that is ended and that nobody has asked for is a zombie for as long as the test's container has no init.
        if (/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))) return true
      } catch {
        return true
      }
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    return false
  }
  t.equal(await refusal(t, script('setInterval(() => {}, 1000)'), { timeoutMs: 2_000 }), `command ${program} did not end within 2 s`)
  t.ok(await isGone(), 'it hangs')
  t.equal(await refusal(t, script('process.exit()'), { timeoutMs: 2_000 }), `command ${program} did not end within 2 s`)
  t.ok(await isGone(), 'it leaves a program behind that holds its output open')
  t.equal(await refusal(t, script('setInterval(() => process.stdout.write("x".repeat(10_000)), 1)')), `command ${program} printed more than 64 KiB`)
  t.ok(await isGone(), 'it floods')
})

t.test('a command that has got away is let go', async (t) => {
  const escape = 'require("child_process").spawn(process.execPath, ["-e", "setTimeout(() => {}, 3000)"], { stdio: ["ignore", 1, "ignore"], detached: true }).unref(); process.exit()'
  const pipes = (): number => process.getActiveResourcesInfo().filter((kind) => kind === 'PipeWrap').length
  const before = pipes()
  t.match(await refusal(t, { command: [process.execPath, '-e', escape] }, { timeoutMs: 1_000 }), /did not end within 1 s$/)
  await new Promise((resolve) => setTimeout(resolve, 50))
  t.equal(pipes(), before)
})

t.test('what a command writes to stderr is nobody\'s to read, however much it is', async (t) => {
  const flood = `for (let n = 0; n < 200; n++) console.error("${CANARY}".repeat(1000)); console.log("ok")`
  t.equal(await read({ command: [process.execPath, '-e', flood] }), 'ok')
  t.match(await refusal(t, { command: [process.execPath, '-e', `${flood}; process.exit(7)`] }), /failed with exit code 7$/)
})
