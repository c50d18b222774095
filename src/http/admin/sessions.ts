import type { FastifyInstance } from 'fastify'
import type { Static } from 'typebox'
import type { ToolRules } from '../../config/config.js'
import { ControlError, type Control, type SessionInfo } from '../../control.js'
import { pageOf } from './page.js'
import { listAnswer, route } from './route.js'
import { AskedSession, Refs, SessionParams, SessionQuery, type AskedTools } from './schemas.js'
import { readTtl } from './ttl.js'

/** Sessions: what lets an agent call. The only secret that ever leaves is a new session's key, in the answer that makes it. */
export function sessionRoutes (app: FastifyInstance, { sessions }: Control): void {
  app.get<{ Querystring: Static<typeof SessionQuery> }>('/sessions', {
    schema: route({
      id: 'listSessions', about: 'Sessions, ordered by id', querystring: SessionQuery, answer: { 200: listAnswer('sessions', Refs.Session) },
    }),
  }, async ({ query }) => {
    const { items, next } = pageOf(sessions.list().filter(({ principal }) => (query.principal ?? principal) === principal), ({ id }) => id, query)
    return { sessions: items.map(sessionAnswer), next_cursor: next }
  })

  app.post<{ Body: Static<typeof AskedSession> }>('/sessions', {
    schema: route({
      id: 'createSession', about: 'Opens a session for an agent; its key is in this answer and nowhere else', body: AskedSession, answer: { 201: Refs.NewSession },
    }),
  }, async ({ body }, reply) => {
    const { principal, agent, tools, ttl } = body
    const made = await sessions.create({
      principal, agent, ...(tools === undefined ? {} : { tools: rulesOf(tools) }), ...(ttl === undefined ? {} : { ttlMs: readTtl(ttl) }),
    })
    return await reply.code(201).send({ ...sessionAnswer(made), key: made.key.reveal() })
  })

  app.delete<{ Params: Static<typeof SessionParams> }>('/sessions/:id', {
    schema: route({ id: 'revokeSession', about: 'Ends a session: its next call is refused, and its open streams end', params: SessionParams, answer: {} }),
  }, async ({ params }, reply) => {
    if (!await sessions.revoke(params.id)) throw new ControlError('ERR_NOT_FOUND', [{ path: 'id', message: 'there is no such session: it has ended, or never was' }])
    return await reply.code(204).send()
  })
}

/** A bare list is what may be called. */
export function rulesOf (tools: AskedTools): ToolRules {
  if ('map' in tools) return { allow: tools, deny: [] }
  return { allow: tools.allow ?? ['*'], deny: tools.deny ?? [] }
}

/** RFC 3339, as JSON has no dates. */
export function dateOf (ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString()
}

export function sessionAnswer ({ id, principal, agent, tools, expiresAt, source }: SessionInfo) {
  return { id, principal, agent, tools: tools ?? null, expires_at: dateOf(expiresAt), source }
}
