import { request } from 'node:http'
import fastify from 'fastify'
import t, { type Test } from 'tap'
import { Listener } from '../../../src/http/listener.js'
import { LIMITS } from '../../../src/http/server.js'

function listener (t: Test): Listener {
  const one = new Listener(LIMITS, () => {})
  t.teardown(() => one.close())
  return one
}

function answers (t: Test) {
  const app = fastify()
  app.get('/', () => 'here')
  t.teardown(async () => await app.close())
  return app
}

const get = async (url: string): Promise<string> => await new Promise((resolve, reject) => {
  request(url, (response) => {
    let text = ''
    response.on('data', (chunk: Buffer) => { text += chunk.toString() }).on('end', () => resolve(text))
  }).on('error', reject).end()
})

t.test('localhost is both its addresses on one port, and what listens everywhere is told by its loopback name', async (t) => {
  const door = listener(t)
  const app = answers(t)
  const url = new URL(await door.listen({ host: 'localhost', port: 0 }, app))
  for (const host of new Set([url.hostname, '127.0.0.1'])) t.equal(await get(`http://${host}:${url.port}`), 'here', host)
  t.match(await listener(t).listen({ host: '0.0.0.0', port: 0 }, app), /^http:\/\/127\.0\.0\.1:\d+$/)
  const six = await listener(t).listen({ host: '::', port: 0 }, app).catch((error: NodeJS.ErrnoException) => error.code)
  t.match(six, /^http:\/\/\[::1\]:\d+$|EAFNOSUPPORT|EADDRNOTAVAIL/)
  const one = await listener(t).listen({ host: '::1', port: 0 }, app).catch((error: NodeJS.ErrnoException) => error.code)
  t.match(one, /^http:\/\/\[::1\]:\d+$|EAFNOSUPPORT|EADDRNOTAVAIL/)
  await t.rejects(listener(t).listen({ host: '127.0.0.1', port: Number(url.port) }, app), { code: 'EADDRINUSE' })
  await t.rejects(listener(t).listen({ host: 'nowhere.invalid', port: 0 }, app))
})
