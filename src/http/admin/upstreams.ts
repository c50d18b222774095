import type { FastifyInstance } from 'fastify'
import type { Endpoints } from './options.js'
import { route } from './route.js'
import { Refs } from './schemas.js'

/** Upstreams: where agents reach them, so that whoever made a session can say where its key goes. */
export function upstreamRoute (app: FastifyInstance, endpoints: () => Endpoints): void {
  app.get('/upstreams', {
    schema: route({ id: 'listUpstreams', about: 'The upstreams, and where agents reach them', answer: { 200: Refs.Upstreams } }),
  }, async () => {
    const { proxy, header, upstreams } = endpoints()
    return { proxy, header, upstreams: upstreams.map(({ name, path, url }) => ({ name, path, url: url.href })) }
  })
}
