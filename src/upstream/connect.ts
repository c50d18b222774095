import type { Socket } from 'node:net'
import { buildConnector } from 'undici'

/** undici's own parser of a connection's answers. */
interface Parser {
  paused: boolean
  /** Of the answer that it is at; 0 where it is at none. */
  readonly statusCode: number
  readonly shouldKeepAlive: boolean
  /** Null once the connection has closed. */
  readonly ptr: number | null
  readonly llhttp: { llhttp_resume (ptr: number): void }
  resume (): void
}

/**
 * Makes the connections of a pool, and sees to it that an answer which ends with its connection ends as it should.
 *
 * undici 7 asserts there that its parser is not paused, as it is while an answer is held or its agent does not read: that
 * throws out of an event of the socket's, the call has no end, and nor has the pool (undici#5360). It also takes an answer of no
 * given length as whole where the connection was reset, which RFC 9112 §8 does not.
 */
export function connector (options: buildConnector.BuildOptions): buildConnector.connector {
  const connect = buildConnector(options)
  return (to, done) => connect(to, (...outcome) => {
    if (outcome[0] === null) watchEnd(outcome[1])
    done(...outcome)
  })
}

/** Its listeners are called before undici's, which are there once it has the connection. */
function watchEnd (socket: Socket): void {
  socket.on('end', () => {
    const parser = parserOf(socket)
    if (parser?.paused !== true) return
    // All that has come has been read by now: this takes the parser from where it stood to the end of it.
    parser.resume()
    // It may have stopped there, since nobody told it of what it waits for; what is left is to hear of the end.
    if (!parser.paused || parser.ptr === null) return
    parser.llhttp.llhttp_resume(parser.ptr)
    parser.paused = false
  })
  socket.on('error', (error: NodeJS.ErrnoException) => {
    const parser = parserOf(socket)
    if (error.code === 'ECONNRESET' && parser !== undefined && parser.statusCode > 0 && !parser.shouldKeepAlive) error.code = 'UND_ERR_SOCKET'
  })
}

/** It is kept under a symbol that is not public. */
function parserOf (socket: Socket): Parser | undefined {
  const name = Object.getOwnPropertySymbols(socket).find(({ description }) => description === 'parser')
  return name === undefined ? undefined : (socket as unknown as Record<symbol, Parser | undefined>)[name]
}
