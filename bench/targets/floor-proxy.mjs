/**
 * The least that a proxy on node:http and undici can do: the body whole, two fixed headers, the answer in one write. No
 * router, no session, no policy, no metrics, no error handling: not a proxy to use, but the floor for one in Node.
 *
 * Plain JavaScript for the same reason as stock-proxy.mjs.
 */
import { createServer } from 'node:http'
import { Pool } from 'undici'

const { BENCH_UPSTREAM, BENCH_TOKEN, BENCH_PORT } = process.env
const NOT_SENT = new Set(['host', 'connection', 'content-length', 'transfer-encoding', 'keep-alive', 'x-session-key'])
const pool = new Pool(BENCH_UPSTREAM, { connections: null })

class Answer {
  pieces = []

  constructor (response) {
    this.response = response
  }

  onRequestStart () {}

  onResponseStart (_controller, status, headers) {
    this.status = status
    this.headers = Object.entries(headers).filter(([name]) => !NOT_SENT.has(name) || name === 'content-length').flat()
  }

  onResponseData (_controller, chunk) {
    this.pieces.push(chunk)
  }

  onResponseEnd () {
    this.response.writeHead(this.status, this.headers)
    this.response.end(Buffer.concat(this.pieces).toString('latin1'), 'latin1')
  }

  onResponseError () {
    this.response.destroy()
  }
}

createServer((request, response) => {
  const pieces = []
  request.on('data', (chunk) => pieces.push(chunk))
  request.on('end', () => {
    const headers = ['authorization', `Bearer ${BENCH_TOKEN}`, 'x-api-key', BENCH_TOKEN]
    for (let i = 0; i < request.rawHeaders.length; i += 2) {
      const name = request.rawHeaders[i].toLowerCase()
      if (!NOT_SENT.has(name)) headers.push(name, request.rawHeaders[i + 1])
    }
    pool.dispatch({ path: request.url, method: request.method, headers, body: Buffer.concat(pieces) }, new Answer(response))
  })
}).listen(Number(BENCH_PORT), '127.0.0.1')
