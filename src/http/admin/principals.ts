import type { FastifyInstance } from 'fastify'
import type { Static } from 'typebox'
import { ControlError, type Control, type GivenCredential, type PrincipalInfo } from '../../control.js'
import { pageOf } from './page.js'
import { listAnswer, route } from './route.js'
import { GivenPrincipalSchema, PageQuery, PrincipalParams, PrincipalUpstreamParams, Refs } from './schemas.js'
import { rulesOf } from './sessions.js'

/** Principals: on whose behalf agents call, as a product registers them when its users log in. */
export function principalRoutes (app: FastifyInstance, { principals }: Control): void {
  app.get<{ Querystring: Static<typeof PageQuery> }>('/principals', {
    schema: route({ id: 'listPrincipals', about: 'Principals, ordered by id', querystring: PageQuery, answer: { 200: listAnswer('principals', Refs.Principal) } }),
  }, async ({ query }) => {
    const { items, next } = pageOf(principals.list(), ({ id }) => id, query)
    return { principals: items.map(shown), next_cursor: next }
  })

  app.put<{ Params: Static<typeof PrincipalParams>, Body: Static<typeof GivenPrincipalSchema> }>('/principals/:id', {
    schema: route({
      id: 'putPrincipal',
      about: 'Registers a principal with its credentials, or replaces what was registered; its sessions use them from their next call on',
      params: PrincipalParams,
      body: GivenPrincipalSchema,
      answer: { 200: Refs.Principal },
    }),
  }, async ({ params, body: { tools, credentials } }) => shown(await principals.put(params.id, {
    credentials, ...(tools === undefined ? {} : { tools: rulesOf(tools) }),
  })))

  app.put<{ Params: Static<typeof PrincipalUpstreamParams>, Body: GivenCredential }>('/principals/:id/credentials/:upstream', {
    schema: route({
      id: 'putCredential',
      about: 'The same for one upstream; what was put for others stays',
      params: PrincipalUpstreamParams,
      body: Refs.GivenCredential,
      answer: { 200: Refs.Principal },
    }),
  }, async ({ params, body }) => shown(await principals.putCredential(params.id, params.upstream, body)))

  app.delete<{ Params: Static<typeof PrincipalParams> }>('/principals/:id', {
    schema: route({ id: 'deletePrincipal', about: 'Takes back what was put, and ends the sessions that are left without a principal', params: PrincipalParams, answer: {} }),
  }, async ({ params }, reply) => {
    if (!await principals.delete(params.id)) throw nothingPut(principals.list(), params.id)
    return await reply.code(204).send()
  })
}

function nothingPut (known: readonly PrincipalInfo[], id: string): ControlError {
  return new ControlError(known.some((principal) => principal.id === id) ? 'ERR_CONFIGURED' : 'ERR_PRINCIPAL_UNKNOWN', [])
}

function shown ({ id, tools, source, upstreams }: PrincipalInfo) {
  return { id, tools: tools ?? null, source, upstreams }
}
