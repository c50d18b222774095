import { createHash, randomBytes } from 'node:crypto'
import { format, inspect } from 'node:util'
import t from 'tap'
import { Secret } from '../../src/secret.js'
import { Canaries } from '../helpers/canary.js'

const value = randomBytes(32).toString('base64url')
const secret = new Secret(value)
const canaries = new Canaries()
canaries.add('it', value)

t.test('row 46: a secret is given by reveal and by nothing else', (t) => {
  t.equal(secret.reveal(), value)
  t.end()
})

t.test('row 46: its fingerprint is the first 8 hex digits of its SHA-256', (t) => {
  t.equal(secret.fingerprint, createHash('sha256').update(value).digest('hex').slice(0, 8))
  t.equal(secret.fingerprint, secret.fingerprint)
  t.end()
})

for (const [how, print] of Object.entries<(secret: Secret) => string>({
  'String()': (secret) => String(secret),
  'a template': (secret) => `${secret as unknown as string}`,
  '+': (secret) => '' + (secret as unknown as string),
  'JSON.stringify': (secret) => JSON.stringify({ secret, list: [secret] }),
  inspect: (secret) => inspect(secret),
  'inspect, all of it': (secret) => inspect({ secret }, { showHidden: true, depth: null, getters: true, customInspect: true }),
  'inspect without custom': (secret) => inspect(secret, { customInspect: false, showHidden: true, getters: true }),
  '%s %o %O %j': (secret) => format('%s %o %O %j', secret, secret, secret, secret),
  'Object.entries': (secret) => JSON.stringify([Object.entries(secret), Object.getOwnPropertyNames(secret), Object.getOwnPropertySymbols(secret)]),
  'a spread': (secret) => JSON.stringify({ ...secret }),
  structuredClone: (secret) => inspect(structuredClone(secret), { showHidden: true, customInspect: false }),
  'an error': (secret) => inspect(new Error(`no ${String(secret)}`, { cause: secret }), { depth: null }),
})) {
  t.test(`row 46: ${how} shows nothing of it`, (t) => {
    t.same(canaries.findIn(print(secret)), [])
    t.end()
  })
}
