import type { IncomingMessage } from 'node:http'
import { ValetError } from '../errors.js'
import type { Share } from '../room.js'
import { ByteCollector } from '../upstream/byte-collector.js'

type Done = (error: ValetError | undefined, body?: Buffer) => void

const EMPTY = Buffer.alloc(0)

/**
 * Reads the body of a call whole, as the bytes that came, of whatever type: a replay must be able to send them again.
 * Fastify's own reader waits for three events where nearly always the whole body has come with its head, and looks for a
 * parser of its type: a tenth of what a call takes longer here when calls are few.
 * @param limit bytes; a longer body is refused with `ERR_BODY_TOO_LARGE`, one that breaks off with `ERR_BODY_INVALID`
 * @param share of its call; a body that there is no room for is refused with `ERR_OVERLOADED`
 * @param done must not throw; gets no body where there is none, nor that of a GET
 */
export function readBody (request: IncomingMessage, limit: number, share: Share, done: Done): void {
  const { method, headers: { 'content-length': announced, 'transfer-encoding': coding } } = request
  const length = Number(announced)
  if (method === 'GET' || (coding === undefined && !(length > 0))) {
    // Left unread it would keep Node from noticing that the agent leaves.
    request.resume()
    return done(undefined)
  }
  if (length > limit) return done(new ValetError('ERR_BODY_TOO_LARGE'))
  try {
    if (length > 0) share.hold('request', length)
  } catch (error) {
    return done(error as ValetError)
  }
  // Node hears of what has come with the head in the same turn, but after it; and of the end of it later still.
  process.nextTick(() => {
    const begun = request.read() as Buffer | null ?? EMPTY
    if (begun.length > limit) done(new ValetError('ERR_BODY_TOO_LARGE'))
    else if (begun.length === length) {
      done(undefined, begun)
      // Its end, once the call is on its way: until somebody has read that, Node keeps a request with its connection.
      setImmediate(() => request.read())
    } else readOn(request, begun, limit, share).then((body) => done(undefined, body), (error: ValetError) => done(error))
  })
}

async function readOn (request: IncomingMessage, begun: Buffer, limit: number, share: Share): Promise<Buffer> {
  const body = new ByteCollector()
  const add = (piece: Buffer): void => {
    const length = body.length + piece.length
    if (length > limit) throw new ValetError('ERR_BODY_TOO_LARGE')
    // One whose length was announced has its room already.
    if (request.headers['content-length'] === undefined) share.hold('request', length)
    body.add(piece)
  }
  // Leaving the loop must not close the connection: a refusal has still to go out on it.
  const rest = request.iterator({ destroyOnReturn: false })
  try {
    add(begun)
    for await (const piece of rest as AsyncIterable<Buffer>) add(piece)
  } catch (error) {
    throw error instanceof ValetError ? error : new ValetError('ERR_BODY_INVALID')
  }
  return body.whole()
}
