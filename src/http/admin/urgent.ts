import type { Control, CredentialInfo, SessionInfo } from '../../control.js'
import { credentialAnswer } from './credentials.js'
import { firstOf } from './page.js'
import { sessionAnswer } from './sessions.js'
import { eventText } from './watchers.js'

/** Entries of a list; where there are more, the most urgent are shown, and the count of all. */
const MOST_SHOWN = 100
/** What somebody must see to first. */
const URGENCY: ReadonlyArray<CredentialInfo['state']> = ['revoked', 'failed', 'expired', 'expiring', 'valid']

/** Credentials and sessions at one moment, as events. @param principal whose are wanted; those of all unless given */
export interface Lists {
  credentials (principal: string | undefined): string
  sessions (principal: string | undefined): string
}

/** All who look at the same moment share what was made of it: there may be very many sessions. @param now milliseconds since the epoch */
export function listsOf ({ credentials, sessions }: Pick<Control, 'credentials' | 'sessions'>, now: number): Lists {
  return {
    credentials: eventOf('credentials', credentials.list(), byUrgency, credentialAnswer),
    sessions: eventOf('sessions', sessions.list(), byEnd(now), sessionAnswer),
  }
}

function eventOf<T extends { readonly principal: string }> (name: string, all: readonly T[], order: (a: T, b: T) => number, answer: (item: T) => object): (principal: string | undefined) => string {
  const made = new Map<string | undefined, string>()
  return (principal) => {
    const known = made.get(principal)
    if (known !== undefined) return known
    const wanted = principal === undefined ? all : all.filter((item) => item.principal === principal)
    const text = eventText(name, { total: wanted.length, items: firstOf(wanted, order, MOST_SHOWN).map(answer) })
    made.set(principal, text)
    return text
  }
}

function byUrgency (a: CredentialInfo, b: CredentialInfo): number {
  return URGENCY.indexOf(a.state) - URGENCY.indexOf(b.state) || (a.expiresAt ?? Infinity) - (b.expiresAt ?? Infinity) ||
    byText(a.principal, b.principal) || byText(a.upstream, b.upstream)
}

/** What ends soonest comes first, then what has no end, and last what has ended. */
function byEnd (now: number): (a: SessionInfo, b: SessionInfo) => number {
  const rank = ({ expiresAt }: SessionInfo): number => expiresAt === undefined ? 1 : expiresAt > now ? 0 : 2
  return (a, b) => rank(a) - rank(b) || (a.expiresAt ?? 0) - (b.expiresAt ?? 0) || byText(a.id, b.id)
}

function byText (a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1
}
