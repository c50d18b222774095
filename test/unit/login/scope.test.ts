import t from 'tap'
import { asksOffline, scopeOf, scopeToAsk } from '../../../src/login/scope.js'

const plain = { issuer: 'https://id.example' }
const offline = { ...plain, scopes_supported: ['openid', 'offline_access'] }

t.test('what a person named counts before what the upstream named', async (t) => {
  t.equal(scopeToAsk('a', 'b', plain), 'a')
  t.equal(scopeToAsk(undefined, 'b c', plain), 'b c')
  t.equal(scopeToAsk(undefined, undefined, plain), undefined)
})

t.test('offline_access is asked for where the issuer knows it, once', async (t) => {
  t.equal(scopeToAsk('a', 'b', offline), 'a offline_access')
  t.equal(scopeToAsk('offline_access a', undefined, offline), 'offline_access a')
  t.equal(scopeToAsk(undefined, undefined, offline), 'offline_access')
  t.equal(scopeToAsk('a', undefined, { ...plain, scopes_supported: 'offline_access' as never }), 'a')
})

t.test('a scope that merely has the word in it is another', async (t) => {
  t.equal(asksOffline('no_offline_access'), false)
  t.equal(asksOffline('a offline_access'), true)
  t.equal(asksOffline(undefined), false)
})

t.test('a client that was registered for less asks for less, but for what a person named', async (t) => {
  for (const [wanted, named, registered, scope, dropped] of [
    ['a b', undefined, undefined, 'a b', []],
    [undefined, undefined, 'a', undefined, []],
    ['a b', undefined, 'b a c', 'a b', []],
    ['a b c', undefined, 'c a', 'a c', ['b']],
    ['a', undefined, 'ab', undefined, ['a']],
    ['a b offline_access', 'a b', 'a', 'a b', ['offline_access']],
  ] as const) t.strictSame(scopeOf(wanted, named, registered), { scope, dropped: [...dropped] })
})
