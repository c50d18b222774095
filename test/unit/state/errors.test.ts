import t from 'tap'
import { stateErrorOf, systemErrorOf, isLmdbError } from '../../../src/state/lmdb-error.js'
import { isPassing, isReply, isUnsent, redisError } from '../../../src/state/redis-error.js'
import { StateError } from '../../../src/state/store.js'

const coded = (code: unknown, message = 'a message that could hold anything'): Error => Object.assign(new Error(message), { code })
const reply = (message: string): Error => Object.assign(new Error(message), { name: 'ReplyError', command: { name: 'auth', args: ['hunter2'] } })

t.test('LMDB: each kind of error has its advice', async (t) => {
  const cases: Array<[code: unknown, message: RegExp]> = [
    [-30796, /^it failed \(the state file is damaged\): end mcp-valet and bring the state folder back from a backup/],
    [-30790, /^it failed \(too many processes have the state folder open\)/],
    [-1, /^it failed \(the state file cannot be used\): end mcp-valet/],
    [28, /^it failed \(ENOSPC\): free some space there, or name another folder/],
    ['EDQUOT', /^it failed \(EDQUOT\): free some space/],
    ['EROFS', /^it failed \(EROFS\): make it writable for this user/],
    [11, /^it failed \(EAGAIN\): another program has locked it/],
    [undefined, /^it failed \(a message that could hold anything\): make it writable/],
  ]
  for (const [code, message] of cases) t.match(stateErrorOf('it failed', coded(code)), { name: 'StateError', message })
  const own = new StateError('own')
  t.equal(stateErrorOf('it failed', own), own)
  t.ok(isLmdbError(coded(-30796)))
  t.notOk(isLmdbError(coded(28)))
  t.notOk(isLmdbError('no error'))
  t.equal(systemErrorOf(coded(0)), undefined)
})

t.test('Redis: what it says is told in words of its operator, by its word alone', async (t) => {
  const cases: Array<[error: unknown, message: RegExp, passing: boolean]> = [
    [reply('WRONGPASS invalid username-password pair hunter2'), /^Redis at h refuses the user or the password: correct state\.url$/, false],
    [reply('LOADING Redis is loading'), /is still loading its data/, true],
    [reply('MASTERDOWN Link with MASTER is down'), /has lost its primary/, false],
    [reply('MISCONF Errors writing to the AOF file'), /cannot save its data to its disk/, false],
    [reply('CLUSTERDOWN Hash slot not served'), /is a cluster that is down/, true],
    [reply('MOVED 1 10.0.0.1:6379'), /is a cluster: use redis\+cluster:\/\//, false],
    [reply('ASK 1 10.0.0.1:6379'), /is a cluster: use redis\+cluster:\/\//, false],
    [reply('ERR max number of clients reached'), /has too many clients/, false],
    [reply('ERR Error running script (call to f_1): @user_script:1: -OOM command not allowed'), /is out of memory/, false],
    [reply('ERR unknown command hunter2'), /^Redis at h refuses a command of mcp-valet: it needs Redis 6 or later, or what speaks like it$/, false],
    [coded('ECONNREFUSED'), /^Redis at h cannot be reached \(ECONNREFUSED\): check that it runs, and state\.url/, true],
    [coded('CERT_HAS_EXPIRED'), /^Redis at h shows a certificate that is not trusted \(CERT_HAS_EXPIRED\)/, false],
    [coded('no code; hunter2'), /^Redis at h cannot be reached: check/, true],
    [new Error('Command timed out'), /^Redis at h does not answer in time/, true],
    [new Error('Connection is closed.'), /^Redis at h cannot be reached: check/, true],
    [Object.assign(new Error('Failed to refresh slots cache.'), { lastNodeError: coded('ECONNRESET') }), /\(ECONNRESET\)/, true],
    [Object.assign(new Error('Failed to refresh slots cache.'), { lastNodeError: reply('NOAUTH Authentication required.') }), /asks for a password/, false],
    ['no error', /^Redis at h cannot be reached: check/, true],
  ]
  for (const [error, message, passing] of cases) {
    const told = redisError('Redis at h', error)
    t.match(told, { name: 'StateError', message })
    t.equal(told.cause, undefined, 'the client keeps the password in what it throws')
    t.notMatch(told.message, 'hunter2')
    t.equal(isPassing(error), passing, told.message)
  }
  const own = new StateError('own')
  t.equal(redisError('Redis at h', own), own)
  t.notOk(isPassing(own))
  t.ok(isReply(reply('ERR')))
  t.ok(isUnsent(new Error('Stream isn\'t writeable and enableOfflineQueue options is false')))
})
