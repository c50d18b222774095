import { createSecretKey, randomBytes } from 'node:crypto'
import t from 'tap'
import { Directory } from '../../../src/caller/directory.js'
import { createGuard } from '../../../src/caller/guard.js'
import { identify } from '../../../src/caller/identify.js'
import { authorityFor, isErrorCode } from '../../../src/policy/authority.js'
import { testClock } from '../../helpers/clock.js'
import { openSession } from '../../helpers/open-session.js'

const directory = new Directory(createSecretKey(randomBytes(32)), testClock())
const { key, session } = openSession(directory, { principal: 'alice', agent: 'planner' })
const good = key.reveal()
const who = (headers: Record<string, string>) => identify(headers, { keyHeader: 'x-session-key', keys: directory, jwts: undefined, relay: false })
const CALLER = { kind: 'caller', caller: { session: session.id, principal: 'alice', agent: 'planner' } }
const UNKNOWN = { kind: 'refused', code: 'ERR_SESSION_UNKNOWN' }
const STRAY = { ...UNKNOWN, reason: 'a session key or JWT stands where none is looked for' }

for (const [what, headers, expected] of [
  ['a key in its header', { 'x-session-key': good }, CALLER],
  ['a key as a bearer', { authorization: `Bearer ${good}` }, CALLER],
  ['a key as a bearer in another case', { authorization: `bEARER  ${good} ` }, CALLER],
  ['a key beside a token of its own', { 'x-session-key': good, authorization: 'Bearer own', 'x-api-key': 'own' }, CALLER],
  ['a wrong key beside a good one', { 'x-session-key': 'x', authorization: `Bearer ${good}` }, UNKNOWN],
  ['an empty key', { 'x-session-key': '' }, UNKNOWN],
  ['a bearer that begins like a key', { authorization: 'Bearer vk_' }, UNKNOWN],
  ['a key as an API key', { 'x-api-key': good }, STRAY],
  ['a key without a scheme', { authorization: good }, STRAY],
  ['a key and more', { authorization: `Bearer ${good} more` }, STRAY],
  ['a token', { authorization: 'Bearer own' }, { kind: 'own_token' }],
  ['an API key', { 'x-api-key': 'own' }, { kind: 'own_token' }],
  ['nothing', {}, { kind: 'nobody' }],
] as const) {
  t.test(`row 35: ${what} is ${expected.kind}`, (t) => {
    t.same(who(headers), expected)
    t.end()
  })
}

const NONE = new Set<never>()
const OPEN = new Set(['no_principal'] as const)
for (const [identity, anonymous, relayAuthorization, expected] of [
  [CALLER, NONE, false, 'credential'],
  [CALLER, OPEN, true, 'credential'],
  [UNKNOWN, OPEN, true, 'ERR_SESSION_UNKNOWN'],
  [{ kind: 'own_token' }, NONE, false, 'ERR_SESSION_REQUIRED'],
  [{ kind: 'own_token' }, OPEN, false, 'anonymous'],
  [{ kind: 'own_token' }, NONE, true, 'relay'],
  [{ kind: 'own_token' }, OPEN, true, 'relay'],
  [{ kind: 'nobody' }, NONE, true, 'ERR_SESSION_REQUIRED'],
  [{ kind: 'nobody' }, OPEN, false, 'anonymous'],
] as const) {
  t.test(`row 35: ${identity.kind}, ${anonymous === OPEN ? 'open' : 'closed'}, ${relayAuthorization ? 'relaying' : 'not relaying'}: ${expected}`, (t) => {
    const verdict = authorityFor(identity as never, anonymous, { relayAuthorization })
    t.equal(verdict, expected)
    t.equal(isErrorCode(verdict), expected.startsWith('ERR_'))
    t.end()
  })
}

const callers = (hosts: string[] = []) => ({ header: 'x-session-key', hosts, origins: [], relayAuthorization: false, jwt: undefined })

t.test('row 39: the address that is listened on is served by its name', (t) => {
  const guard = createGuard(callers(), { host: 'Valet.Internal', port: 1 })
  t.equal(guard('valet.internal:1', undefined), undefined)
  t.equal(guard('other.internal', undefined), 'ERR_HOST_REFUSED')
  t.end()
})

for (const host of ['0.0.0.0', '::']) {
  t.test(`row 39: listening on ${host} serves no further name`, (t) => {
    const guard = createGuard(callers(), { host, port: 1 })
    for (const name of [`${host}`, `[${host}]`, '192.168.0.1', 'evil.example', '']) t.equal(guard(name, undefined), 'ERR_HOST_REFUSED', name)
    t.equal(guard('localhost', undefined), undefined)
    t.end()
  })
}

t.test('row 39: on a socket loopback names are served, and those of the list', (t) => {
  const guard = createGuard(callers(['valet']), { socket: '/run/valet.sock' })
  t.same(['localhost', 'VALET:80', 'evil.example', undefined].map((host) => guard(host, undefined)), [undefined, undefined, 'ERR_HOST_REFUSED', 'ERR_HOST_REFUSED'])
  t.end()
})

t.test('row 39: what is no name in the list does not open the door to what is no name in Host', (t) => {
  t.equal(createGuard(callers(['::not a host::', '']), { host: '127.0.0.1', port: 1 })('[', undefined), 'ERR_HOST_REFUSED')
  t.end()
})

t.test('row 39: what was served before opens the door to nothing else', (t) => {
  const guard = createGuard(callers(), { host: '127.0.0.1', port: 1 })
  t.equal(guard(undefined, undefined), 'ERR_HOST_REFUSED', 'no Host at first')
  for (const host of ['127.0.0.1:1', 'localhost']) {
    t.equal(guard(host, undefined), undefined)
    for (const other of [undefined, '', 'evil.example', `${host}.evil.example`]) t.equal(guard(other, undefined), 'ERR_HOST_REFUSED', String(other))
    t.equal(guard(host, 'https://evil.example'), 'ERR_ORIGIN_REFUSED', 'an Origin is looked at each time')
    t.equal(guard(host, undefined), undefined)
  }
  t.end()
})
