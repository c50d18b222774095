import type { FastifyInstance } from 'fastify'
import type { Static } from 'typebox'
import type { Control, CredentialInfo } from '../../control.js'
import { pageOf } from './page.js'
import { listAnswer, route } from './route.js'
import { CredentialParams, CredentialQuery, Refs } from './schemas.js'
import { dateOf } from './sessions.js'

/** Credentials: how they stand, never what they are. */
export function credentialRoutes (app: FastifyInstance, { credentials }: Control): void {
  app.get<{ Querystring: Static<typeof CredentialQuery> }>('/credentials', {
    schema: route({
      id: 'listCredentials',
      about: 'Credentials without their values, ordered by principal and upstream',
      querystring: CredentialQuery,
      answer: { 200: listAnswer('credentials', Refs.Credential) },
    }),
  }, async ({ query }) => {
    const wanted = credentials.list().filter(({ principal, upstream }) =>
      (query.principal ?? principal) === principal && (query.upstream ?? upstream) === upstream)
    // No name holds a line break, so no two pairs have the same key.
    const { items, next } = pageOf(wanted, ({ principal, upstream }) => `${principal}\n${upstream}`, query)
    return { credentials: items.map(credentialAnswer), next_cursor: next }
  })

  app.post<{ Params: Static<typeof CredentialParams> }>('/credentials/:principal/:upstream/refresh', {
    schema: route({ id: 'refreshCredential', about: 'Renews a credential now, whatever its expiry', params: CredentialParams, answer: { 200: Refs.Credential } }),
  }, async ({ params: { principal, upstream } }) => credentialAnswer(await credentials.refresh(principal, upstream)))
}

export function credentialAnswer ({ principal, upstream, type, state, source, expiresAt, refreshedAt, token, error }: CredentialInfo) {
  return {
    principal, upstream, type, state, source, expires_at: dateOf(expiresAt), refreshed_at: dateOf(refreshedAt), token: token ?? null, error: error ?? null,
  }
}
