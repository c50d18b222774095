import type { IncomingMessage } from 'node:http'
import type { ControlErrorCode } from '../../control.js'
import { headGuard } from '../request-guard.js'
import type { AdminOptions } from './options.js'

type Settings = AdminOptions['settings']

/** Why a request is refused whoever sent it; undefined where it is not. */
export type StrangerGuard = (request: IncomingMessage) => Extract<ControlErrorCode, 'ERR_REQUEST_INVALID' | 'ERR_HOST_REFUSED' | 'ERR_ORIGIN_REFUSED'> | undefined

/**
 * Keeps web pages out, but for the one that is served here: a browser says by Origin (RFC 6454) and Sec-Fetch-Site (W3C Fetch
 * Metadata) where a request comes from. Together with the guard of Host a page that came by DNS rebinding is a foreign one.
 */
export function strangerGuard (settings: Settings): StrangerGuard {
  const guard = hostGuard(settings)
  const isPlainHead = headGuard('authorization')
  return (request) => {
    if (!isPlainHead(request)) return 'ERR_REQUEST_INVALID'
    const { host = '', origin, 'sec-fetch-site': site } = request.headers
    const own = origin === undefined || [`http://${host}`, `https://${host}`].includes(origin)
    return guard(request) ?? (own && (site === undefined || site === 'same-origin' || site === 'none') ? undefined : 'ERR_ORIGIN_REFUSED')
  }
}

/** For what holds nothing: a link to it may stand anywhere. */
export function hostGuard (settings: Settings): StrangerGuard {
  return ({ headers }) => settings().guard(headers.host, undefined)
}
