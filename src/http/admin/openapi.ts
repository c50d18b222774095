import swagger from '@fastify/swagger'
import type { FastifyInstance } from 'fastify'
import { VERSION } from '../../version.js'

/** Keywords that only the checks here understand. */
const OWN_KEYWORDS = new Set(['reads', 'errorMessage'])

/** Notes down the routes that follow, for the document. */
export async function documented (app: FastifyInstance): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'mcp-valet admin API',
        version: VERSION,
        description: 'Sessions, principals and credentials of a running mcp-valet. Times are RFC 3339; lists come in pages.',
        license: { name: 'MIT', identifier: 'MIT' },
      },
      components: { securitySchemes: { admin: { type: 'http', scheme: 'bearer', description: 'The token that admin.token in the config points at.' } } },
      security: [{ admin: [] }],
    },
    refResolver: { buildLocalReference: (json, _baseUri, _fragment, i) => typeof json.$id === 'string' ? json.$id : `part-${i}` },
  })
}

/** Serves the document itself, made once. */
export function documentRoute (app: FastifyInstance): void {
  let text: string | undefined
  app.get('/openapi.json', {
    schema: { operationId: 'getOpenApi', summary: 'This document (OpenAPI 3.1)', response: { 200: { description: 'The document.', type: 'object', additionalProperties: true } } },
    serializerCompiler: () => (document: unknown) => String(document),
  }, async (_request, reply) => {
    text ??= JSON.stringify(app.swagger(), (key, value: unknown) => OWN_KEYWORDS.has(key) && typeof value === 'string' ? undefined : value)
    return await reply.type('application/json; charset=utf-8').send(text)
  })
}
