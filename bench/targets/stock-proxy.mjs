/**
 * @fastify/http-proxy with its defaults, as the README has it, putting two fixed headers on each call.
 *
 * Plain JavaScript, so that no TypeScript loader (and its thread) is in the process whose CPU and memory are measured.
 */
import Fastify from 'fastify'
import httpProxy from '@fastify/http-proxy'

const { BENCH_UPSTREAM, BENCH_TOKEN, BENCH_PORT } = process.env

const app = Fastify({ logger: false })
for (const prefix of ['/json/mcp', '/sse/mcp']) {
  app.register(httpProxy, {
    upstream: BENCH_UPSTREAM,
    prefix,
    rewritePrefix: prefix,
    replyOptions: {
      rewriteRequestHeaders: (_req, headers) => ({
        ...headers,
        authorization: `Bearer ${BENCH_TOKEN}`,
        'x-api-key': BENCH_TOKEN,
      }),
    },
  })
}
await app.listen({ port: Number(BENCH_PORT), host: '127.0.0.1' })
