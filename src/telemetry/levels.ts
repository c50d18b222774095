import type { RefreshEvent, ValetEvent } from './events.js'

export type Level = 'debug' | 'info' | 'warn' | 'error'

/** Reason of a denial: clients look for a login by themselves, once for each key that was refused, which has been told. */
export const LOGIN_PROBE = 'a client looks for an OAuth login, and there is none here'

/**
 * How loud an event is. What is part of normal operation, an expected 401 that a replay mends included, is `info` or
 * below; what a caller suffers from is `warn`; what a person must see to is `error`.
 */
export function levelOf (event: ValetEvent): Level {
  switch (event.event) {
    case 'call': case 'stream_opened': case 'stream_closed': return 'debug'
    case 'listening': case 'reloaded': case 'stopping': case 'stopped': case 'anonymous': return 'info'
    case 'session_created': case 'session_revoked': case 'principal_put': case 'principal_deleted': return 'info'
    case 'rejected': return event.replay ? 'info' : 'warn'
    case 'replayed': return event.outcome === 'mended' ? 'info' : 'warn'
    case 'refresh': return refreshLevel(event)
    case 'warning': return 'warn'
    case 'denied': return event.reason === LOGIN_PROBE ? 'debug' : 'warn'
    case 'failed': return event.code === 'ERR_CREDENTIAL_REVOKED' ? 'error' : 'warn'
    case 'reload_refused': case 'state_failed': case 'internal_error': return 'error'
  }
}

/** Of an outage of hours the log tells the first failure and the 2nd, 4th, 8th …: what it is about has not changed meanwhile. */
function refreshLevel ({ outcome, attempt = 1 }: RefreshEvent): Level {
  if (outcome === 'revoked') return 'error'
  const worthTelling = Number.isInteger(Math.log2(attempt))
  if (outcome === 'unavailable') return worthTelling ? 'warn' : 'debug'
  return outcome === 'unchanged' && !worthTelling ? 'debug' : 'info'
}

/** The sentence of each event, for people; programs read `event`. */
export function messageOf (event: ValetEvent): string {
  switch (event.event) {
    case 'listening': return `mcp-valet listens on ${event.proxy}, admin on ${event.admin}`
    case 'reloaded': return event.cause === 'config' ? 'goes on with the config as it is now' : 'has read its secrets again, under the config that it has'
    case 'reload_refused': return event.cause === 'config' ? 'nothing was changed: it goes on as before' : 'what is named stays as it was; the other secrets were read again'
    case 'stopping': return 'stopping: calls under way may end'
    case 'stopped': return 'stopped'
    case 'call': return `answered ${event.status}`
    case 'stream_opened': return 'stream opened'
    case 'stream_closed': return 'stream closed'
    case 'anonymous': return `sent without a credential: ${event.reason}`
    case 'rejected': return `the upstream refused the token with ${event.status}${event.replay ? ': renewing it' : ''}`
    case 'replayed': return event.outcome === 'mended' ? 'the replay was accepted' : `the replay was ${event.outcome === 'refused' ? 'refused too' : 'not answered'}`
    case 'refresh': return REFRESHED[event.outcome]
    case 'session_created': return 'a session was opened at run time'
    case 'session_revoked': return 'a session was revoked'
    case 'principal_put': return 'credentials were put for a principal'
    case 'principal_deleted': return 'what was put for a principal was taken back'
    case 'warning': return event.reason
    case 'denied':
      if (event.reason === 'tool') return 'refused a call of a tool that this session may not call'
      if (event.code === 'ERR_NOT_FOUND') return 'refused a call, as nothing is served there'
      return event.code === 'ERR_ADMIN_UNAUTHORIZED' ? 'somebody called the admin API without its token' : 'refused a call'
    case 'failed': return event.code === 'ERR_CREDENTIAL_REVOKED' ? 'a call failed: this principal must log in again' : 'a call failed'
    case 'state_failed': return 'a token could not be saved: it is kept in memory, and would be lost with the process'
    case 'internal_error': return 'a fault in mcp-valet: please report it'
  }
}

const REFRESHED = {
  ok: 'token refreshed',
  adopted: 'took over the token that another instance has refreshed',
  unchanged: 'looked for a new token and found the same one',
  unavailable: 'the token could not be refreshed: what there is stays in use while it is good, and it is tried again',
  revoked: 'the issuer no longer accepts this grant: log in again and put the new refresh token into the config',
} as const
