import type { FastifyInstance, FastifyRequest } from 'fastify'
import { ControlError } from '../../control.js'
import { Access } from './access.js'
import { credentialRoutes } from './credentials.js'
import { eventsRoute } from './events.js'
import { documented, documentRoute } from './openapi.js'
import type { AdminOptions } from './options.js'
import { principalRoutes } from './principals.js'
import { PARTS } from './schemas.js'
import { sessionRoutes } from './sessions.js'
import { strangerGuard } from './stranger.js'
import { upstreamRoute } from './upstreams.js'
import { invalid, requestValidator } from './validator.js'

/** Bytes; a principal with a dozen long tokens takes a tenth of it. */
export const BODY_LIMIT = 256 * 1024

/** Everything under /v1: for an owner who has the admin token, and for nobody else, whatever the path. */
export async function adminApi (app: FastifyInstance, options: AdminOptions): Promise<void> {
  const { clock, emit } = options
  const access = new Access({ token: () => options.settings().token, clock, emit })
  app.addHook('onRequest', admission(options, access))
  app.setNotFoundHandler(() => { throw new ControlError('ERR_NOT_FOUND') })
  const parseJson = app.getDefaultJsonParser('error', 'error')
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'string', bodyLimit: BODY_LIMIT }, (request, body, done) => {
    // Clients that always name a type send one with an empty body as well, to DELETE and to what takes none.
    if (body === '') return done(null, undefined)
    return parseJson(request, body as string, done)
  })
  app.setValidatorCompiler(requestValidator())
  app.setSchemaErrorFormatter((errors) => invalid(errors as unknown as Parameters<typeof invalid>[0]))
  for (const part of PARTS) app.addSchema(part)
  await documented(app)
  const methods = methodsByPath(app)
  sessionRoutes(app, options.control)
  principalRoutes(app, options.control)
  credentialRoutes(app, options.control)
  upstreamRoute(app, options.endpoints)
  eventsRoute(app, options, access)
  documentRoute(app)
  for (const [url, allowed] of methods) refuseOthers(app, url, allowed)
}

/** In the order in which a stranger may learn things: whether it may talk to this at all, whether it is on, whether it is let in. */
function admission ({ settings, emit }: AdminOptions, access: Access): (request: FastifyRequest) => Promise<void> {
  const guard = strangerGuard(settings)
  return async (request) => {
    const foreign = guard(request.raw)
    if (foreign !== undefined) throw denied(request, foreign)
    const verdict = await access.judge(request.raw.headers.authorization)
    if (verdict === 'off') throw new ControlError('ERR_ADMIN_OFF')
    if (verdict === 'unavailable') throw new ControlError('ERR_ADMIN_UNAVAILABLE')
    if (verdict === 'refused') throw denied(request, 'ERR_ADMIN_UNAUTHORIZED')
    // Before the body, or one that cannot be read would make a 400 of it.
    if (request.is404) throw new ControlError('ERR_NOT_FOUND', [{ path: '', message: 'GET /v1/openapi.json says what is served' }])
  }

  function denied (request: FastifyRequest, code: ControlError['code']): ControlError {
    emit({ event: 'denied', request_id: request.id, code })
    return new ControlError(code)
  }
}

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']

/** Which methods each path takes, of the routes that are added from now on. */
function methodsByPath (app: FastifyInstance): ReadonlyMap<string, ReadonlySet<string>> {
  const methods = new Map<string, Set<string>>()
  app.addHook('onRoute', ({ url, method, routePath }) => {
    const path = routePath ?? url
    methods.set(path, new Set([...methods.get(path) ?? [], ...[method].flat()]))
  })
  return methods
}

/** RFC 9110 §15.5.6. */
function refuseOthers (app: FastifyInstance, url: string, allowed: ReadonlySet<string>): void {
  app.route({
    url,
    method: METHODS.filter((method) => !allowed.has(method)),
    schema: { hide: true },
    onRequest: async (_request, reply) => {
      reply.header('allow', [...allowed].join(', '))
      throw new ControlError('ERR_METHOD_NOT_ALLOWED')
    },
    handler: () => {},
  })
}
