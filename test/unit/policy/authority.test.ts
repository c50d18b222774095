import t from 'tap'
import { authorityFor, isErrorCode } from '../../../src/policy/authority.js'

const caller = { session: 's', principal: 'alice', agent: 'a' }
const open = new Set(['no_principal'] as const)
const shut = new Set<never>()

t.test('F6: under which authority a call goes out', async (t) => {
  t.equal(authorityFor({ kind: 'caller', caller }, shut, { relayAuthorization: false }), 'credential')
  t.equal(authorityFor({ kind: 'refused', code: 'ERR_SESSION_EXPIRED' }, open, { relayAuthorization: true }), 'ERR_SESSION_EXPIRED')
  t.equal(authorityFor({ kind: 'nobody' }, shut, { relayAuthorization: true }), 'ERR_SESSION_REQUIRED')
  t.equal(authorityFor({ kind: 'nobody' }, open, { relayAuthorization: false }), 'anonymous')
  t.equal(authorityFor({ kind: 'own_token' }, shut, { relayAuthorization: false }), 'ERR_SESSION_REQUIRED')
  t.equal(authorityFor({ kind: 'own_token' }, open, { relayAuthorization: false }), 'anonymous')
  t.equal(authorityFor({ kind: 'own_token' }, open, { relayAuthorization: true }), 'relay')
})

t.test('F6: a verdict is an authority or an error code', async (t) => {
  t.ok(isErrorCode('ERR_SESSION_REQUIRED'))
  t.notOk(isErrorCode('relay'))
})
