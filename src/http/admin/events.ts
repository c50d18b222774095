import type { FastifyInstance } from 'fastify'
import { Type, type Static } from 'typebox'
import { ControlError } from '../../control.js'
import type { RecentEvents } from '../../telemetry/recent.js'
import type { Access } from './access.js'
import { figuresText } from './figures.js'
import type { AdminOptions } from './options.js'
import { route } from './route.js'
import { EventsQuery } from './schemas.js'
import { hostGuard } from './stranger.js'
import { listsOf, type Lists } from './urgent.js'
import { eventText, oncePerTick, Watchers } from './watchers.js'

const MOST_WATCHERS = 8

/** What happens, as it happens, for the status page and for whoever else looks on. */
export function eventsRoute (app: FastifyInstance, options: AdminOptions, access: Access): void {
  const watchers = new Watchers({ clock: options.clock, emit: options.emit, most: MOST_WATCHERS, until: options.ending })
  const judgeHost = hostGuard(options.settings)
  const { control, recent, clock } = options
  const look = oncePerTick(() => ({ figures: figuresText(options), lists: listsOf(control, clock.now()) }))
  app.get<{ Querystring: Static<typeof EventsQuery> }>('/events', {
    schema: route({
      id: 'watchEvents',
      about: 'Figures, credentials, sessions and events of authentication as server-sent events: all of it first, then each second what has changed',
      querystring: EventsQuery,
      answer: { 200: Type.String({ description: 'Events `figures`, `credentials`, `sessions` and `authentication`, with JSON as their data.' }) },
      produces: 'text/event-stream',
    }),
  }, async (request, reply) => {
    const changes = changesOf(recent, request.query.principal)
    await watchers.serve(reply, async (tick) => {
      // The config, or the token, may be another one since.
      const code = judgeHost(request.raw)
      if (code !== undefined) throw new ControlError(code)
      if (await access.judge(request.headers.authorization) !== 'granted') throw new ControlError('ERR_ADMIN_UNAUTHORIZED')
      const { figures, lists } = look(tick)
      return await figures + changes(lists)
    })
  })
}

/** What one watcher has not been told yet. @param principal whose credentials and sessions are wanted; those of all unless given */
function changesOf (recent: RecentEvents, principal: string | undefined): (lists: Lists) => string {
  const [events, credentials, sessions] = [eventsSince(recent), changed(), changed()]
  return (lists) => credentials(lists.credentials(principal)) + sessions(lists.sessions(principal)) + events()
}

function changed (): (text: string) => string {
  let told = ''
  return (text) => {
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
