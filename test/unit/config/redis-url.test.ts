import fc from 'fast-check'
import t from 'tap'
import { readRedisUrl, type RedisAddress } from '../../../src/config/redis-url.js'

/** What is not the default, with passwords opened. */
function read (url: string): Record<string, unknown> {
  const { password, sentinelPassword, ...rest } = readRedisUrl(url)
  const all = { ...rest, password: password?.reveal(), sentinelPassword: sentinelPassword?.reveal() }
  return Object.fromEntries(Object.entries(all).filter(([key, value]) => value !== undefined && value !== false && !(key === 'db' && value === 0) && !(key === 'kind' && value === 'single')))
}

const local = [{ host: 'h', port: 6379 }]

t.test('every form of the address of Redis', async (t) => {
  const cases: Array<[url: string, address: Partial<Record<keyof RedisAddress, unknown>>]> = [
    ['redis://h', { hosts: local }],
    ['redis://h/', { hosts: local }],
    ['redis://h:1/5', { hosts: [{ host: 'h', port: 1 }], db: 5 }],
    ['redis://:secret@h', { hosts: local, password: 'secret' }],
    ['redis://user:se%40c%3Aret%2F@h', { hosts: local, username: 'user', password: 'se@c:ret/' }],
    ['redis://user:a:b@h', { hosts: local, username: 'user', password: 'a:b' }],
    ['redis://user:@h', { hosts: local, username: 'user' }],
    ['redis://[::1]:7', { hosts: [{ host: '::1', port: 7 }] }],
    ['rediss://redis.example.com', { hosts: [{ host: 'redis.example.com', port: 6379 }], tls: true }],
    ['unix:/run/redis.sock', { hosts: [], socket: '/run/redis.sock' }],
    ['unix:///run/my%20redis.sock?db=2&username=u&password=p%26+', { hosts: [], socket: '/run/my redis.sock', db: 2, username: 'u', password: 'p&+' }],
    ['redis+sentinel://a,b:1,[::2]/main', { kind: 'sentinel', hosts: [{ host: 'a', port: 26379 }, { host: 'b', port: 1 }, { host: '::2', port: 26379 }], service: 'main' }],
    ['rediss+sentinel://u:p@a/main/3?sentinel_username=su&sentinel_password=sp+%25', {
      kind: 'sentinel', hosts: [{ host: 'a', port: 26379 }], service: 'main', db: 3, tls: true, username: 'u', password: 'p', sentinelUsername: 'su', sentinelPassword: 'sp+%',
    }],
    ['redis+cluster://:p@a,b:7000', { kind: 'cluster', hosts: [{ host: 'a', port: 6379 }, { host: 'b', port: 7000 }], password: 'p' }],
    ['rediss+cluster://a', { kind: 'cluster', hosts: [{ host: 'a', port: 6379 }], tls: true }],
  ]
  for (const [url, address] of cases) t.strictSame(read(url), address, url)
})

t.test('anything else is refused, by what is wrong and without it', async (t) => {
  const cases: Array<[url: string, message: RegExp]> = [
    ['', /^expected one of redis:\/\/.*; in a user or password @ : \/ \? # and % are written in percent form/],
    ['hunter2', /^expected one of/],
    ['http://hunter2', /^expected one of/],
    ['redis+other://hunter2', /^expected one of/],
    ['redis://', /^expected one of/],
    ['redis://h#hunter2', /^expected one of/],
    ['redis://:hunter2/3@h', /^expected a host name/],
    ['redis://:hunter?2@h', /^after the \? expected nothing/],
    ['redis://hunter2@h', /^before the @ expected user:password/],
    ['redis://:hunter%2@h', /^a % must begin a percent form/],
    ['redis://h:70000', /^expected a host name or address/],
    ['redis://h:0', /^expected a host name or address/],
    ['redis://hunter 2', /^expected a host name or address/],
    ['redis://a,b', /^more than one host: use redis\+sentinel:\/\/ or redis\+cluster:\/\//],
    ['redis://h/hunter2', /^expected the number of a database/],
    ['redis://h/1/2', /^expected the number of a database/],
    ['redis://h?db=1', /^after the \? expected nothing/],
    ['redis+cluster://h/1', /^a cluster has no databases/],
    ['redis+sentinel://h', /^after the Sentinels expected the name/],
    ['redis+sentinel://h/a/1/hunter2', /^after the Sentinels expected the name/],
    ['redis+sentinel://h/a?hunter2', /^after the \? expected sentinel_username=…&sentinel_password=…/],
    ['unix:relative', /^expected one of/],
    ['unix:/s?password', /^after the \? expected db=…&username=…&password=…/],
    ['unix:/s?db=hunter2', /^expected the number of a database/],
  ]
  for (const [url, message] of cases) {
    t.throws(() => readRedisUrl(url), { name: 'RangeError', message }, url)
    try { readRedisUrl(url) } catch (error) { t.notMatch((error as Error).message, 'hunter') }
  }
})

t.test('whatever the password is, in percent form it comes through, and it prints as its fingerprint', async (t) => {
  fc.assert(fc.property(fc.string({ minLength: 1, unit: 'grapheme' }), (password) => {
    const address = readRedisUrl(`redis://:${encodeURIComponent(password)}@h`)
    return address.password?.reveal() === password
  }))
  const secret = 'correct horse'
  t.notMatch(JSON.stringify(readRedisUrl(`redis://:${encodeURIComponent(secret)}@h`)), 'horse')
})

t.test('no text takes it long, or ends it otherwise than by its own error', async () => {
  fc.assert(fc.property(fc.string({ maxLength: 300, unit: 'binary' }), fc.constantFrom('redis://', 'unix:/', 'redis+sentinel://', ''), (text, scheme) => {
    try {
      readRedisUrl(scheme + text)
      return true
    } catch (error) {
      return error instanceof RangeError
    }
  }), { numRuns: 2_000 })
})
