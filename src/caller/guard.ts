import { isIPv4, isIPv6 } from 'node:net'
import type { CallersConfig, Listen } from '../config/config.js'
import type { ErrorCode } from '../errors.js'

/** Judges Host and Origin, so that a web page cannot reach the sidecar by DNS rebinding (MCP, transports, security). */
export type Guard = (host: string | undefined, origin: string | undefined) => Extract<ErrorCode, 'ERR_HOST_REFUSED' | 'ERR_ORIGIN_REFUSED'> | undefined

const WILDCARDS = new Set(['0.0.0.0', '::', ''])

/** Loopback names, the listen address itself and `callers.hosts` are served; an Origin only where it is listed. */
export function createGuard (callers: CallersConfig, listen: Listen): Guard {
  const hosts = new Set(callers.hosts.map((name) => hostName(name.toLowerCase())))
  if ('host' in listen && !WILDCARDS.has(listen.host)) hosts.add(listen.host.toLowerCase())
  // What is no name at all must not be served because the list holds something that is none either.
  hosts.delete('')
  const origins = new Set(callers.origins.map((origin) => origin.toLowerCase()))

  const serves = (host: string | undefined): boolean => {
    const name = host === undefined ? '' : hostName(host.toLowerCase())
    return isLoopback(name) || hosts.has(name)
  }
  /** Which was served last, to the letter: the next call's is nearly always the same. */
  let served: string | undefined

  return (host, origin) => {
    if (host === undefined || host !== served) {
      if (!serves(host)) return 'ERR_HOST_REFUSED'
      served = host
    }
    if (origin !== undefined && !origins.has(origin.toLowerCase())) return 'ERR_ORIGIN_REFUSED'
    return undefined
  }
}

/** The name in a Host header (RFC 9110 §7.2), without port and brackets; empty where it is none. */
function hostName (host: string): string {
  if (host.startsWith('[')) {
    const address = /^\[([0-9a-f:.]+)\](?::\d{1,5})?$/.exec(host)?.[1] ?? ''
    return isIPv6(address) ? address : ''
  }
  return /^([a-z0-9._-]+)(?::\d{1,5})?$/.exec(host)?.[1] ?? ''
}

function isLoopback (name: string): boolean {
  return name === 'localhost' || name === '127.0.0.1' || name === '::1' || (isIPv4(name) && name.startsWith('127.'))
}
