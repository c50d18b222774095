import fc from 'fast-check'
import t from 'tap'
import { CallSession, SessionBinding } from '../../../src/mcp/session-binding.js'
import { Seal, StateKey } from '../../../src/state/seal.js'

type Owner = Parameters<SessionBinding['open']>[2]

const binding = new SessionBinding(new Seal(StateKey.random(), [], 'binding'))
const caller = (principal: string, agent: string): Owner => ({ upstream: 'u', origin: 'http://u', authority: 'credential', caller: { session: 's', principal, agent } })
const owner = fc.record({ principal: fc.string(), agent: fc.string() }).map(({ principal, agent }) => caller(principal, agent))
const same = (a: Owner, b: Owner): boolean => a.caller?.principal === b.caller?.principal && a.caller?.agent === b.caller?.agent

t.test('row 44: what is bound opens for its owner and for nobody else', async (t) => {
  fc.assert(fc.property(fc.string({ maxLength: 100 }).map((text) => Buffer.from(text).toString('latin1')), owner, owner, (own, one, other) => {
    const shown = binding.bind('session', own, one)
    return /^[\w-]+$/.test(shown) && binding.open('session', shown, one) === own && (same(one, other) || binding.open('session', shown, other) === undefined) &&
      binding.open('endpoint', shown, one) === undefined
  }))
  t.equal(binding.open('session', binding.bind('session', 'x', caller('a,b', 'c')), caller('a', 'b,c')), undefined, 'names that run together are still two')
})

t.test('row 48: what is sealed for the state is no session id', async (t) => {
  const key = StateKey.random()
  const name = JSON.stringify(['session', 'u', 'http://u', 'anonymous'])
  const sealed = new Seal(key).close(name, Buffer.from('s1')).toString('base64url')
  t.equal(new SessionBinding(new Seal(key, [], 'binding')).open('session', sealed, { upstream: 'u', origin: 'http://u', authority: 'anonymous', caller: undefined }), undefined)
})

t.test('T2: the session of a call keeps the form in which its agent knows it', async (t) => {
  const session = new CallSession(binding, caller('a', 'b'))
  const shown = session.show('s1')
  t.equal(session.own, undefined)
  t.equal(session.open(shown, {}), true)
  t.equal(session.own, 's1')
  t.equal(session.show('s1'), shown)
  t.not(session.show('s2'), shown)
  t.equal(session.open('made up', {}), false)
})

t.test('row 44: what a connection has shown is remembered for the same owner alone', async (t) => {
  const connection = {}
  const owners = [caller('a', 'b'), caller('a', 'c'), caller('b', 'b'), { ...caller('a', 'b'), upstream: 'v' }, { ...caller('a', 'b'), origin: 'http://v' }, { ...caller('a', 'b'), authority: 'anonymous' as const, caller: undefined }, { ...caller('a', 'b'), authority: 'relay' as const, caller: undefined }]
  for (const owner of owners) {
    const shown = binding.bind('session', 's1', owner)
    for (const round of [1, 2]) {
      for (const other of owners) t.equal(binding.openSession(shown, other, connection), other === owner ? 's1' : undefined, `round ${round}`)
      t.equal(binding.openSession(shown, { ...owner }, connection), 's1')
      t.equal(binding.openSession(shown + 'A', owner, connection), undefined)
    }
  }
})
