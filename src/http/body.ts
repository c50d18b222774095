import type { IncomingMessage } from 'node:http'
import { ValetError } from '../errors.js'

type Done = (error: ValetError | null, body?: Buffer) => void

const EMPTY = Buffer.alloc(0)

/**
 * Reads the body of a call whole, as the bytes that came, of whatever type: a replay must be able to send them again. A
 * content type parser of Fastify's, which refuses before it what is no media type at all. Fastify's own reader waits for
 * three events where nearly always the whole body has come with its head: a twentieth of what a call takes longer here
 * when calls are few.
 * @param limitOf bytes; a longer body is refused with `ERR_BODY_TOO_LARGE`, one that breaks off with `ERR_BODY_INVALID`
 */
export function bodyReader<R> (limitOf: (request: R) => number): (request: R, payload: IncomingMessage, done: Done) => void {
  return (request, payload, done) => {
    const limit = limitOf(request)
    const length = Number(payload.headers['content-length'])
    if (length > limit) return done(new ValetError('ERR_BODY_TOO_LARGE'))
    // Node hears of what has come with the head in the same turn, but after it; and of the end of it later still.
    process.nextTick(() => {
      const begun = payload.read() as Buffer | null ?? EMPTY
      if (begun.length > limit) done(new ValetError('ERR_BODY_TOO_LARGE'))
      else if (begun.length === length) {
        done(null, begun)
        // Its end, once the call is on its way: until somebody has read that, Node keeps a request with its connection.
        setImmediate(() => payload.read())
      } else readOn(payload, begun, limit).then((body) => done(null, body), (error: ValetError) => done(error))
    })
  }
}

async function readOn (payload: IncomingMessage, begun: Buffer, limit: number): Promise<Buffer> {
  const pieces = [begun]
  let length = begun.length
  // Leaving the loop must not close the connection: a refusal has still to go out on it.
  const rest = payload.iterator({ destroyOnReturn: false })
  try {
    for await (const piece of rest as AsyncIterable<Buffer>) {
      length += piece.length
      if (length > limit) throw new ValetError('ERR_BODY_TOO_LARGE')
      pieces.push(piece)
    }
  } catch (error) {
    throw error instanceof ValetError ? error : new ValetError('ERR_BODY_INVALID')
  }
  return Buffer.concat(pieces, length)
}
