import type { FastifyInstance } from 'fastify'
import { Type, type Static } from 'typebox'
import { ControlError, type Control, type CredentialInfo } from '../../control.js'
import type { RecentEvents } from '../../telemetry/recent.js'
import type { Access } from './access.js'
import { credentialAnswer } from './credentials.js'
import { figuresText } from './figures.js'
import type { AdminOptions } from './options.js'
import { route } from './route.js'
import { EventsQuery } from './schemas.js'
import { sessionAnswer } from './sessions.js'
import { hostGuard } from './stranger.js'
import { eventText, Watchers } from './watchers.js'

const MOST_WATCHERS = 8
/** Entries of a list; where there are more, the most urgent are shown, and the count of all. */
const MOST_SHOWN = 100
/** What somebody must see to first. */
const URGENCY: ReadonlyArray<CredentialInfo['state']> = ['revoked', 'failed', 'expired', 'expiring', 'valid']

/** What happens, as it happens, for the status page and for whoever else looks on. */
export function eventsRoute (app: FastifyInstance, options: AdminOptions, access: Access): void {
  const watchers = new Watchers({ clock: options.clock, emit: options.emit, most: MOST_WATCHERS, until: options.ending })
  const judgeHost = hostGuard(options.settings)
  app.get<{ Querystring: Static<typeof EventsQuery> }>('/events', {
    schema: route({
      id: 'watchEvents',
      about: 'Figures, credentials, sessions and events of authentication as server-sent events: all of it first, then each second what has changed',
      querystring: EventsQuery,
      answer: { 200: Type.String({ description: 'Events `figures`, `credentials`, `sessions` and `authentication`, with JSON as their data.' }) },
      produces: 'text/event-stream',
    }),
  }, async (request, reply) => {
    const changes = changesOf(options, request.query.principal)
    await watchers.serve(reply, async () => {
      // The config, or the token, may be another one since.
      const code = judgeHost(request.raw)
      if (code !== undefined) throw new ControlError(code)
      if (await access.judge(request.headers.authorization) !== 'granted') throw new ControlError('ERR_ADMIN_UNAUTHORIZED')
      return await figuresText(options) + changes()
    })
  })
}

/** What one watcher has not been told yet. @param principal whose credentials and sessions are wanted; those of all unless given */
function changesOf ({ control, recent }: { readonly control: Control, readonly recent: RecentEvents }, principal: string | undefined): () => string {
  const wanted = (item: { readonly principal: string }): boolean => (principal ?? item.principal) === item.principal
  const events = eventsSince(recent)
  const credentials = changed('credentials', () => {
    const all = control.credentials.list().filter(wanted)
    return { total: all.length, items: all.sort(byUrgency).slice(0, MOST_SHOWN).map(credentialAnswer) }
  })
  const sessions = changed('sessions', () => {
    const all = control.sessions.list().filter(wanted)
    return { total: all.length, items: all.sort((a, b) => a.id < b.id ? -1 : 1).slice(0, MOST_SHOWN).map(sessionAnswer) }
  })
  return () => credentials() + sessions() + events()
}

function changed (name: string, list: () => object): () => string {
  let told = ''
  return () => {
    const text = eventText(name, list())
    if (text === told) return ''
    told = text
    return text
  }
}

function eventsSince (recent: RecentEvents): () => string {
  let seq = 0
  return () => {
    const events = recent.since(seq)
    const last = events.at(-1)
    if (last === undefined) return ''
    seq = last.seq
    return eventText('authentication', { events: events.map(({ at, ...event }) => ({ at: new Date(at).toISOString(), ...event })) })
  }
}

function byUrgency (a: CredentialInfo, b: CredentialInfo): number {
  return URGENCY.indexOf(a.state) - URGENCY.indexOf(b.state) || (a.expiresAt ?? Infinity) - (b.expiresAt ?? Infinity) ||
    (`${a.principal}\n${a.upstream}` < `${b.principal}\n${b.upstream}` ? -1 : 1)
}
