import { once } from 'node:events'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fastify from 'fastify'
import t, { type Test } from 'tap'
import { malformedRequests } from '../../../src/http/malformed.js'
import { Listener } from '../../../src/http/listener.js'
import { LIMITS } from '../../../src/http/server.js'

async function place (t: Test): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'valet-'))
  t.teardown(async () => { await rm(dir, { recursive: true }) })
  return join(dir, 'a.sock')
}

async function listen (t: Test, where: Parameters<Listener['listen']>[0]): Promise<string> {
  const listener = new Listener(LIMITS, () => {})
  t.teardown(() => listener.close())
  return await listener.listen(where, fastify())
}

t.test('a socket is for its owner alone', async (t) => {
  const path = await place(t)
  t.equal(await listen(t, { socket: path }), `unix:${path}`)
  t.equal((await stat(path)).mode & 0o777, 0o600)
})

t.test('a socket that somebody answers on is not taken over', async (t) => {
  const path = await place(t)
  const other = createServer().listen(path)
  await once(other, 'listening')
  await t.rejects(listen(t, { socket: path }), { code: 'EADDRINUSE' })
  t.ok(other.listening)
  other.close()
})

t.test('a file where the socket should be is not deleted', async (t) => {
  const path = await place(t)
  await writeFile(path, 'precious')
  await t.rejects(listen(t, { socket: path }), { code: 'EADDRINUSE' })
  t.equal(await readFile(path, 'utf8'), 'precious')
})

t.test('port 0 gives a free one, told as a URL', async (t) => {
  t.match(await listen(t, { host: '127.0.0.1', port: 0 }), /^http:\/\/127\.0\.0\.1:[1-9]\d*$/)
})

const failure = (code: string) => Object.assign(new Error(), { code }) as never

/** A connection of a server as far as the handler looks at it. */
function connection (state: object = {}) {
  const written: string[] = []
  let destroyed = false
  const socket = { destroyed: false, writable: true, write: (text: string) => written.push(text), destroy: () => { destroyed = true }, ...state }
  return { socket, written, destroyed: () => destroyed }
}

for (const [what, state, code] of [['reset by its peer', {}, 'ECONNRESET'], ['closed already', { destroyed: true }, 'HPE_INVALID_METHOD']] as const) {
  t.test(`row 41: a connection that is ${what} is left alone`, (t) => {
    const told: string[] = []
    const { socket, written } = connection(state)
    malformedRequests((id) => told.push(id)).clientErrorHandler?.call({} as never, failure(code), socket as never)
    t.same([written, told], [[], []])
    t.end()
  })
}

t.test('row 41: one that cannot be written to is only closed', (t) => {
  const { socket, written, destroyed } = connection({ writable: false })
  malformedRequests(() => {}).clientErrorHandler?.call({} as never, failure('HPE_INVALID_METHOD'), socket as never)
  t.same([written, destroyed()], [[], true])
  t.end()
})
