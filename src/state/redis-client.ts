import { Cluster, Redis, type RedisOptions } from 'ioredis'
import type { TlsConfig } from '../config/config.js'
import type { RedisAddress } from '../config/redis-url.js'
import type { Secret } from '../secret.js'

/** Milliseconds for one command, and for one try to connect. */
export const COMMAND_MS = 2_000
/** Milliseconds: the wait before connecting again, doubled each time, up to the longest. */
const FIRST_WAIT = 50
const LONGEST_WAIT = 2_000
/** How often a cluster may send a command on to another node: what takes longer is told of and not done later. */
const REDIRECTIONS = 6

export type RedisClient = Redis | Cluster

type Options = Omit<RedisOptions, 'replyMapping'>

/** TLS material as it was read: PEM. */
export interface TlsMaterial {
  readonly ca: string | undefined
  readonly cert: string | undefined
  readonly key: string | undefined
  readonly servername: string | undefined
}

/** @throws {SecretRefError} */
export async function readTls (tls: TlsConfig): Promise<TlsMaterial> {
  const [ca, cert, key] = await Promise.all([tls.ca, tls.cert, tls.key].map(async (ref) => reveal(await ref?.read())))
  return { ca, cert, key, servername: tls.serverName }
}

/** The client for commands. It connects when told, and again by itself from then on. @param random 0 ≤ x < 1 */
export function createClient (address: RedisAddress, tls: TlsMaterial, random: () => number): RedisClient {
  const retryStrategy = (times: number): number => backoff(times, random)
  if (address.kind === 'cluster') {
    return new Cluster([...address.hosts], {
      redisOptions: common(address, tls),
      lazyConnect: true,
      enableOfflineQueue: false,
      clusterRetryStrategy: retryStrategy,
      maxRedirections: REDIRECTIONS,
      slotsRefreshTimeout: COMMAND_MS,
      // A name stays one, for its certificate to be checked against.
      dnsLookup: (host, callback) => callback(null, host),
    })
  }
  return new Redis({ ...common(address, tls), ...placeOf(address, tls), retryStrategy })
}

/**
 * A client for subscriptions, which does not connect again: what was published meanwhile is lost, and that must be seen.
 * @param nth of those that were made, so that each goes to another node of a cluster
 */
export function createSubscriber (address: RedisAddress, tls: TlsMaterial, nth: number): Redis {
  const host = address.kind === 'cluster' ? address.hosts[nth % address.hosts.length] : undefined
  return new Redis({
    ...common(address, tls), ...(host ?? placeOf(address, tls)), connectionName: 'mcp-valet-watch', retryStrategy: null, sentinelRetryStrategy: () => null,
  })
}

export function backoff (times: number, random: () => number): number {
  return Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** Math.min(times - 1, 10)) * (1 - 0.5 * random())
}

function common (address: RedisAddress, tls: TlsMaterial): Options {
  return {
    lazyConnect: true,
    connectionName: 'mcp-valet',
    // Every server and proxy speaks it; nothing here needs a later one.
    protocol: 2,
    disableClientInfo: true,
    // What cannot be sent now is refused now: a write that is sent minutes later would undo what has come since.
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    maxRetriesPerRequest: 0,
    // A server that loads its data says so by itself.
    enableReadyCheck: false,
    connectTimeout: COMMAND_MS,
    commandTimeout: COMMAND_MS,
    // A connection that does not answer may be half gone.
    socketTimeout: COMMAND_MS + 500,
    disconnectTimeout: 50,
    keepAlive: 10_000,
    // After a failover this is the old primary.
    reconnectOnError: (error) => error.message.includes('READONLY'),
    db: address.db,
    ...(address.username === undefined ? {} : { username: address.username }),
    ...(address.password === undefined ? {} : { password: address.password.reveal() }),
    ...(address.tls ? { tls: tlsOptions(tls) } : {}),
  }
}

function placeOf (address: RedisAddress, tls: TlsMaterial): Options {
  if (address.socket !== undefined) return { path: address.socket }
  if (address.kind === 'single') return { ...address.hosts[0] }
  return {
    sentinels: [...address.hosts],
    name: address.service as string,
    sentinelCommandTimeout: COMMAND_MS,
    sentinelRetryStrategy: (times) => Math.min(250, FIRST_WAIT * times),
    ...(address.sentinelUsername === undefined ? {} : { sentinelUsername: address.sentinelUsername }),
    ...(address.sentinelPassword === undefined ? {} : { sentinelPassword: address.sentinelPassword.reveal() }),
    ...(address.tls ? { enableTLSForSentinelMode: true, sentinelTLS: tlsOptions(tls) } : {}),
  }
}

function tlsOptions ({ ca, cert, key, servername }: TlsMaterial) {
  return {
    rejectUnauthorized: true,
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(servername === undefined ? {} : { servername }),
  }
}

function reveal (secret: Secret | undefined): string | undefined {
  return secret?.reveal()
}
