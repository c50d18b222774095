import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect, type AddressInfo, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { pause, systemClock } from '../../../src/clock.js'
import { ValetError } from '../../../src/errors.js'
import { readBody } from '../../../src/http/body.js'
import { Room } from '../../../src/room.js'
import { bytesHeld } from '../../helpers/memory.js'
import { eventually } from '../../helpers/peers.js'

const LIMIT = 100_000

interface Reader {
  readonly socket: Socket
  readonly outcome: Promise<Buffer | string | undefined>
  /** Whether its reader had to wait for events of the stream's. */
  waited: boolean
  /** Whether Node has nothing more of it to give. */
  ended: boolean
  /** Bytes that have come on its connection and have been taken up. */
  taken: () => number
}

/** A server that reads one body, and a connection to it. The outcome is the body, or the code of the refusal. */
async function startReader (t: Test): Promise<Reader> {
  const server = createServer()
  const reader = { waited: false, ended: false, taken: () => 0 }
  const outcome = new Promise<Buffer | string | undefined>((resolve) => {
    server.on('request', (request, response) => {
      reader.taken = () => request.readableLength > 0 ? 0 : request.socket.bytesRead
      request.on('newListener', (name) => { reader.waited ||= name === 'readable' })
      request.on('end', () => { reader.ended = true })
      readBody(request, LIMIT, new Room(10 * LIMIT).share(undefined), (error, body) => {
        resolve(error instanceof ValetError ? error.code : body)
        response.end()
      })
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  t.teardown(() => {
    socket.destroy()
    server.close()
  })
  return Object.assign(reader, { socket, outcome })
}

const head = (framing: string): string => `POST / HTTP/1.1\r\nhost: localhost\r\n${framing}\r\n\r\n`

async function read (t: Test, ...pieces: readonly (string | Buffer)[]): Promise<Buffer | string | undefined> {
  const { socket, outcome } = await startReader(t)
  for (const piece of pieces) {
    socket.write(piece)
    await pause(systemClock, 10)
  }
  return await outcome
}

t.test('row 28: a body is read whole, however it comes', async (t) => {
  t.same(await read(t, head('content-length: 5') + 'hello'), Buffer.from('hello'), 'with its head')
  t.same(await read(t, head('content-length: 5'), 'he', 'llo'), Buffer.from('hello'), 'after it, in pieces')
  t.same(await read(t, head('content-length: 5') + 'he', 'llo'), Buffer.from('hello'), 'begun with it')
  t.same(await read(t, head('transfer-encoding: chunked') + '5\r\nhello\r\n0\r\n\r\n'), Buffer.from('hello'), 'in chunks')
  t.same(await read(t, head('transfer-encoding: chunked') + '2\r\nhe\r\n', '3\r\nllo\r\n', '0\r\n\r\n'), Buffer.from('hello'), 'in chunks, one by one')
  t.equal(await read(t, head('content-length: 0')), undefined, 'or none')
  const long = Buffer.alloc(LIMIT, 'x')
  t.same(await read(t, head(`content-length: ${LIMIT}`), long), long, 'as long as may be')
})

t.test('O1: for a body that has come with its head nobody waits', async (t) => {
  for (const [begun, rest, waits] of [['hello', '', false], ['he', 'llo', true]] as const) {
    const reader = await startReader(t)
    reader.socket.write(head('content-length: 5') + begun)
    await pause(systemClock, 10)
    reader.socket.write(rest)
    t.same(await reader.outcome, Buffer.from('hello'))
    t.equal(reader.waited, waits)
    await pause(systemClock, 10)
    t.ok(reader.ended, 'or Node keeps it with its connection')
  }
})

t.test('row 28: a longer one is refused, whether it says so or not', async (t) => {
  const over = 'x'.repeat(LIMIT + 1)
  const chunk = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`
  t.equal(await read(t, head(`content-length: ${LIMIT + 1}`)), 'ERR_BODY_TOO_LARGE', 'before any of it has come')
  t.equal(await read(t, head('transfer-encoding: chunked') + chunk(over) + chunk('')), 'ERR_BODY_TOO_LARGE')
  t.equal(await read(t, head('transfer-encoding: chunked'), chunk('x'.repeat(LIMIT)), chunk('x')), 'ERR_BODY_TOO_LARGE', 'by its last byte')
})

t.test('row 28: one in chunks of a byte takes little room beside its bytes', async (t) => {
  const LENGTH = 50_000
  const reader = await startReader(t)
  const { socket, outcome } = reader
  const begun = head('transfer-encoding: chunked')
  socket.write(begun)
  await eventually(() => reader.taken() > 0, 'its head')
  const before = bytesHeld()
  const chunks = Buffer.from('1\r\nx\r\n'.repeat(LENGTH))
  socket.write(chunks)
  await eventually(() => reader.taken() === begun.length + chunks.length, 'all but its end')
  await eventually(() => bytesHeld() - before < 50 * LENGTH, `a memory of less than ${50 * LENGTH} bytes for ${LENGTH}`)
  socket.write('0\r\n\r\n')
  t.same(await outcome, Buffer.alloc(LENGTH, 'x'))
})

t.test('row 28: one that breaks off is none', async (t) => {
  const { socket, outcome } = await startReader(t)
  socket.write(head('content-length: 5') + 'he')
  await pause(systemClock, 10)
  socket.destroy()
  t.equal(await outcome, 'ERR_BODY_INVALID')
})

t.test('row 28: the connection goes on after it', async (t) => {
  const { socket, outcome } = await startReader(t)
  socket.write(head('content-length: 5') + 'hello')
  await outcome
  let answers = ''
  socket.on('data', (piece) => { answers += piece })
  socket.write(head('content-length: 5'))
  await pause(systemClock, 10)
  socket.write('again')
  while (answers.split('HTTP/1.1 200').length < 3) await pause(systemClock, 10)
  t.pass('two answers')
})
