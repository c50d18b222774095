import { StateError } from './store.js'

/** What Redis says by the word that its errors begin with, which scripts put in the middle; the first that fits counts. */
const SAID: ReadonlyArray<readonly [word: string, what: string]> = [
  ['Too many Cluster redirections', 'is a cluster of which a node is away: see to its nodes'],
  ['WRONGPASS', 'refuses the user or the password: correct state.url'],
  ['NOAUTH', 'asks for a password: put it into state.url, as in redis://:password@host'],
  ['NOPERM', 'does not let this user do what mcp-valet needs: allow it the keys and the channel that begin with state.prefix, and the commands get, mget, set, del, pexpire, pttl, scan, info, eval, publish, subscribe, ping, client|setname'],
  ['LOADING', 'is still loading its data: it will be ready in a while'],
  ['MASTERDOWN', 'is a replica that has lost its primary: name the primary in state.url, or use redis+sentinel://'],
  ['READONLY', 'is a replica that takes no writes: name the primary in state.url, or use redis+sentinel://'],
  ['OOM', 'is out of memory and keeps nothing more: raise its maxmemory'],
  ['MISCONF', 'cannot save its data to its disk: see to that disk'],
  ['NOREPLICAS', 'has too few replicas to take writes: see to those'],
  ['WRONGTYPE', 'holds something of another program under these keys: use another state.prefix'],
  ['CLUSTERDOWN', 'is a cluster that is down: see to its nodes'],
  ['MOVED', 'is a cluster: use redis+cluster:// in state.url'],
  ['ASK', 'is a cluster: use redis+cluster:// in state.url'],
  ['max number of clients', 'has too many clients: raise its maxclients'],
  ['DB index', 'has no database of that number: correct state.url'],
  ['sentinels are unreachable', 'is not known, as none of its Sentinels can be reached: check that they run, and state.url'],
  ['cluster support disabled', 'is no cluster: use redis:// in state.url'],
]

const PASSING = new Set(['LOADING', 'CLUSTERDOWN', 'Too many Cluster redirections', 'sentinels are unreachable'])

/** Node's own names of what may be wrong with a certificate. */
const CERTIFICATE = /CERT|ALTNAME|SELF_SIGNED|ISSUER|UNABLE_TO_VERIFY/

/** Whether it may be over in a moment, without anybody's doing. */
export function isPassing (error: unknown): boolean {
  if (error instanceof StateError) return false
  const word = wordOf(error)
  if (word !== undefined) return PASSING.has(word)
  return !isReply(error) && !CERTIFICATE.test(networkCode(error) ?? '')
}

/**
 * What a client's error means. Nothing of it is passed on, not even as the cause: ioredis keeps the command in it, with
 * its arguments, and those of AUTH are the password.
 * @param where `Redis at host:6379`
 * @param starting whether nothing is tried again, as there is nothing yet that could
 */
export function redisError (where: string, error: unknown, starting = false): StateError {
  const again = (what: string): string => starting ? '' : `; mcp-valet ${what} by itself`
  if (error instanceof StateError) return error
  const said = SAID.find(([word]) => word === wordOf(error))
  if (said !== undefined) return new StateError(`${where} ${said[1]}`)
  const code = networkCode(error)
  if (code !== undefined && CERTIFICATE.test(code)) return new StateError(`${where} shows a certificate that is not trusted (${code}): name its CA under state.tls.ca, or its name under state.tls.server_name`)
  if (messageOf(error).includes('timed out')) return new StateError(`${where} does not answer in time: check that it is well${again('tries again')}`)
  if (isReply(error)) return new StateError(`${where} refuses a command of mcp-valet: it needs Redis 6 or later, or what speaks like it`)
  return new StateError(`${where} cannot be reached${code === undefined ? '' : ` (${code})`}: check that it runs, and state.url${again('connects again')}`)
}

function wordOf (error: unknown): string | undefined {
  const messages = [messageOf(error), messageOf(nodeErrorOf(error))]
  return SAID.find(([word]) => messages.some((message) => new RegExp(`(?:^|[^\\w])${word}\\b`).test(message)))?.[0]
}

/** Whether Redis itself has said so. */
export function isReply (error: unknown): boolean {
  return error instanceof Error && error.name === 'ReplyError'
}

/** Whether the client had no connection to send it by, so that it was certainly not done. */
export function isUnsent (error: unknown): boolean {
  return messageOf(error).includes('enableOfflineQueue options is false')
}

/** ECONNREFUSED, ENOTFOUND, CERT_HAS_EXPIRED: made by Node itself. */
function networkCode (error: unknown): string | undefined {
  for (const one of [error, nodeErrorOf(error)]) {
    if (one instanceof Error && 'code' in one && typeof one.code === 'string' && /^[A-Z_0-9]{2,64}$/.test(one.code)) return one.code
  }
  return undefined
}

/** A cluster's error holds that of the last node which was tried. */
function nodeErrorOf (error: unknown): unknown {
  return error instanceof Error && 'lastNodeError' in error ? error.lastNodeError : undefined
}

function messageOf (error: unknown): string {
  return error instanceof Error ? error.message : ''
}
