import { Secret } from '../secret.js'

/** Where Redis is, and how to log in there. */
export interface RedisAddress {
  readonly kind: 'single' | 'sentinel' | 'cluster'
  /** Of Redis itself, of its Sentinels or of nodes of the cluster; a socket's path in place of them is under `socket`. */
  readonly hosts: ReadonlyArray<{ readonly host: string, readonly port: number }>
  readonly socket: string | undefined
  readonly tls: boolean
  readonly username: string | undefined
  readonly password: Secret | undefined
  readonly db: number
  /** What the Sentinels call the primary, and how to log in with them. */
  readonly service: string | undefined
  readonly sentinelUsername: string | undefined
  readonly sentinelPassword: Secret | undefined
}

export const REDIS_URL_FORMS = [
  'redis://[user:password@]host[:6379][/db]',
  'rediss://… with TLS',
  'unix:/path/to.sock[?db=0]',
  'redis+sentinel://[user:password@]host[:26379][,host…]/service[/db][?sentinel_username=…&sentinel_password=…]',
  'redis+cluster://[user:password@]host[:6379][,host…]',
  'rediss+sentinel:// and rediss+cluster:// with TLS',
].join(', ')

const NETWORK = /^(redis|rediss)(?:\+(sentinel|cluster))?:\/\/(?:([^@/?#]*)@)?([^@/?#]+)(?:\/([^?#]*))?(?:\?([^#]*))?$/
const SOCKET = /^unix:(?:\/\/)?(\/[^?#\0]+)(?:\?([^#]*))?$/
const PARAMETERS = { single: [], sentinel: ['sentinel_username', 'sentinel_password'], cluster: [], socket: ['db', 'username', 'password'] } as const

/**
 * Reads the address of Redis. That of Sentinels is written as several other clients have it
 * (`redis+sentinel://host,host/service/db`); no standard names one.
 * @throws {RangeError} that names the part which is wrong and holds none of it, as any of it may be a password
 */
export function readRedisUrl (text: string): RedisAddress {
  const socket = SOCKET.exec(text)
  if (socket !== null) return socketAddress(socket[1] as string, parameters(socket[2], 'socket'))
  const parts = NETWORK.exec(text)
  if (parts === null) throw new RangeError(`expected one of ${REDIS_URL_FORMS}; in a user or password @ : / ? # and % are written in percent form, such as %40`)
  const [, scheme, kind = 'single', login = '', hosts, path = '', query] = parts
  const known = parameters(query, kind as RedisAddress['kind'])
  const [username, password] = readLogin(login)
  return {
    kind: kind as RedisAddress['kind'],
    hosts: readHosts(hosts as string, kind === 'sentinel' ? 26_379 : 6_379, kind !== 'single'),
    socket: undefined,
    tls: scheme === 'rediss',
    username,
    password,
    ...readPath(path, kind as RedisAddress['kind']),
    sentinelUsername: known.get('sentinel_username'),
    sentinelPassword: secretOf(known.get('sentinel_password')),
  }
}

function socketAddress (path: string, known: Map<string, string>): RedisAddress {
  return {
    kind: 'single',
    hosts: [],
    socket: decoded(path),
    tls: false,
    username: known.get('username'),
    password: secretOf(known.get('password')),
    db: readDb(known.get('db')),
    service: undefined,
    sentinelUsername: undefined,
    sentinelPassword: undefined,
  }
}

/** `user:password`, `:password` or `user:`; a name alone would be taken for a password by some and for a user by others. */
function readLogin (text: string): [username: string | undefined, password: Secret | undefined] {
  if (text === '') return [undefined, undefined]
  const at = text.indexOf(':')
  if (at === -1) throw new RangeError('before the @ expected user:password, or :password alone')
  const [username, password] = [decoded(text.slice(0, at)), decoded(text.slice(at + 1))]
  return [username === '' ? undefined : username, secretOf(password)]
}

function readHosts (text: string, defaultPort: number, several: boolean): RedisAddress['hosts'] {
  const hosts = text.split(',').map((one) => {
    const match = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_.])?))(?::([0-9]{1,5}))?$/i.exec(one)
    const port = Number(match?.[3] ?? defaultPort)
    if (match === null || port < 1 || port > 65_535) throw new RangeError('expected a host name or address, with a port or without, such as redis.internal:6379')
    return { host: (match[1] ?? match[2]) as string, port }
  })
  if (hosts.length > 1 && !several) throw new RangeError('more than one host: use redis+sentinel:// or redis+cluster://')
  return hosts
}

function readPath (path: string, kind: RedisAddress['kind']): { service: string | undefined, db: number } {
  const parts = path.split('/').map(decoded)
  if (kind === 'cluster' && path !== '') throw new RangeError('a cluster has no databases: expected nothing after the hosts')
  if (kind !== 'sentinel') return { service: undefined, db: readDb(parts.join('/')) }
  const [service = '', db, ...rest] = parts
  if (service === '' || rest.length > 0) throw new RangeError('after the Sentinels expected the name by which they know the primary, such as /mymaster')
  return { service, db: readDb(db) }
}

function readDb (text = ''): number {
  if (!/^[0-9]{0,5}$/.test(text)) throw new RangeError('expected the number of a database')
  return Number(text)
}

function parameters (query: string | undefined, kind: keyof typeof PARAMETERS): Map<string, string> {
  const allowed: readonly string[] = PARAMETERS[kind]
  return new Map((query ?? '').split('&').filter((pair) => pair !== '').map((pair) => {
    const at = pair.indexOf('=')
    const name = pair.slice(0, at)
    if (!allowed.includes(name)) throw new RangeError(`after the ? expected ${allowed.map((one) => `${one}=…`).join('&') || 'nothing'}`)
    // Not as a form, where + is a space: passwords hold it.
    return [name, decoded(pair.slice(at + 1))]
  }))
}

function decoded (text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new RangeError('a % must begin a percent form, such as %25 for itself')
  }
}

function secretOf (text: string | undefined): Secret | undefined {
  return text === undefined || text === '' ? undefined : new Secret(text)
}
