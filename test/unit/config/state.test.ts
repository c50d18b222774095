import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parse, stringify } from 'yaml'
import { makeCa } from '../../helpers/tls.js'
import { checkSecrets } from '../../../src/config/check-secrets.js'
import { loadConfigText } from '../../../src/config/load.js'
import { effectiveConfig } from '../../../src/config/mask.js'
import { complaints, load, yaml } from './helpers.js'

const redis = (more = ''): string => yaml({ top: `state: { driver: redis, url: { env: REDIS_URL }, key: { env: KEY }${more} }` })

t.test('state in Redis, with every default and with every value', async (t) => {
  t.match(load(redis()).state, {
    driver: 'redis',
    url: { source: 'env REDIS_URL' },
    prefix: 'mcp-valet:',
    key: { source: 'env KEY' },
    previousKeys: [],
    tls: { ca: undefined, cert: undefined, key: undefined, serverName: undefined },
  })
  t.match(load(redis(', prefix: "a/b*", previous_keys: [{ env: OLD }, { file: /run/older }], tls: { ca: ca.pem, server_name: redis.internal }')).state, {
    prefix: 'a/b*', previousKeys: [{ source: 'env OLD' }, { source: 'file /run/older' }], tls: { ca: { source: 'file ca.pem' }, serverName: 'redis.internal' },
  })
  t.match(load(yaml({ top: 'state: { previous_keys: [{ env: OLD }] }' })).state, { driver: 'lmdb', key: undefined, previousKeys: [{ source: 'env OLD' }] })
})

t.test('what a driver needs is asked for, what it does not know is refused', async (t) => {
  const cases: Array<[state: string, complaints: Array<string | RegExp>]> = [
    ['{ driver: redis }', ['state.url: is required with driver: redis, such as { env: REDIS_URL }', /^state\.key: is required with driver: redis, and the same for every sidecar that shares it/]],
    ['{ driver: redis, url: "redis://:hunter2@h", key: { env: K } }', ['state.url: a secret is never written here: use { env: NAME }, { file: PATH } or { command: [..] }']],
    ['{ driver: redis, url: { env: U }, key: { env: K }, path: x }', ['state.path: has no meaning with driver: redis']],
    ['{ url: { env: U }, prefix: x, tls: {} }', ['state.url: has no meaning with driver: lmdb', 'state.prefix: has no meaning with driver: lmdb', 'state.tls: has no meaning with driver: lmdb']],
    ['{ driver: memory, key: { env: K }, previous_keys: [] }', ['state.key: has no meaning with driver: memory', 'state.previous_keys: has no meaning with driver: memory']],
    ['{ driver: redis, url: { env: U }, key: { env: K }, prefix: "{x}" }', ['state.prefix: expected 1 to 64 visible ASCII characters without braces, such as mcp-valet:']],
    ['{ driver: redis, url: { env: U }, key: { env: K }, tls: { cert: c.pem } }', ['state.tls.key: is required beside tls.cert']],
    ['{ previous_keys: [abc] }', ['state.previous_keys[0]: a secret is never written here: use { env: NAME }, { file: PATH } or { command: [..] }']],
    ['{ previous_keys: { env: K } }', ['state.previous_keys: expected a list']],
    ['{ driver: 5, path: x }', ['state.driver: must be one of memory, lmdb, redis']],
  ]
  for (const [state, expected] of cases) {
    const found = complaints(yaml({ top: `state: ${state}` }))
    t.equal(found.length, expected.length, found.join('; '))
    for (const [index, one] of expected.entries()) typeof one === 'string' ? t.equal(found[index], one) : t.match(found[index], one)
    t.notMatch(found.join(), 'hunter2')
  }
})

t.test('the effective config shows where its secrets are, and reads back', async (t) => {
  const shown = effectiveConfig(load(redis(', previous_keys: [{ file: /run/old }], tls: { ca: ca.pem }')))
  t.strictSame(shown.state, {
    driver: 'redis', url: { env: 'REDIS_URL' }, prefix: 'mcp-valet:', tls: { ca: { file: 'ca.pem' } }, key: { env: 'KEY' }, previous_keys: [{ file: '/run/old' }],
  })
  t.strictSame(effectiveConfig(load(stringify(shown))), shown)
  t.strictSame((parse(stringify(effectiveConfig(load(yaml({ top: 'state: { key: { env: K }, previous_keys: [{ env: O }] }' }))))) as { state: unknown }).state, {
    driver: 'lmdb', path: './var/state', key: { env: 'K' }, previous_keys: [{ env: 'O' }],
  })
})

t.test('`check` reads them, and says what cannot be used', async (t) => {
  const check = async (text: string, env: Record<string, string>): Promise<string[]> =>
    (await checkSecrets(loadConfigText(text, { env: { T: 't', K: `vk_${'a'.repeat(43)}`, ...env } }))).map(({ path, message }) => `${path}: ${message}`)
  const ca = join(t.testdir(), 'ca.pem')
  writeFileSync(ca, (await makeCa()).cert)
  const good = { REDIS_URL: 'redis://:hunter2@h', KEY: 'k'.repeat(32), OLD: 'o'.repeat(32) }
  const text = redis(`, previous_keys: [{ env: OLD }], tls: { ca: ${ca} }`)
  t.strictSame(await check(text, good), [])
  t.strictSame(await check(text, { REDIS_URL: 'redis://:hunter2/@h', KEY: 'k', OLD: 'o' }), [
    'state.url: env REDIS_URL holds no address of Redis: expected a host name or address, with a port or without, such as redis.internal:6379',
    'state.key: env KEY is too short for a state key: it needs at least 32 bytes, such as `openssl rand -base64 32` makes',
    'state.previous_keys[0]: env OLD is too short for a state key: it needs at least 32 bytes, such as `openssl rand -base64 32` makes',
  ])
  t.strictSame(await check(text.replace(ca, `${ca}.none`), {}), [
    'state.url: the environment variable REDIS_URL is not set',
    `state.tls.ca: there is no file ${ca}.none`,
    'state.key: the environment variable KEY is not set',
    'state.previous_keys[0]: the environment variable OLD is not set',
  ])
})
