import type { FastifySchema } from 'fastify'
import { Type, type TSchema } from 'typebox'
import { Refs } from './schemas.js'

export interface RouteDescription {
  /** What a generated client calls it. */
  readonly id: string
  readonly about: string
  readonly params?: TSchema
  readonly querystring?: TSchema
  readonly body?: TSchema
  /** By status; none means 204. */
  readonly answer: Readonly<Record<number, TSchema>>
  /** Its media type where it is not JSON. */
  readonly produces?: string
}

/** A route's schema, by which requests are checked, answers are written and the OpenAPI document is made. */
export function route ({ id, about, answer, produces, ...parts }: RouteDescription): FastifySchema {
  const own = Object.keys(answer).length === 0 ? { 204: Type.Null({ description: 'Done.' }) } : produces === undefined ? answer : asType(answer, produces)
  return { operationId: id, summary: about, ...parts, response: { ...own, '4xx': Refs.Error, '5xx': Refs.Error } } as FastifySchema
}

function asType (answer: Readonly<Record<number, TSchema>>, type: string): object {
  return Object.fromEntries(Object.entries(answer).map(([status, schema]) => [status, { description: (schema as { description?: string }).description, content: { [type]: { schema } } }]))
}

/** A page of a list under its name. */
export function listAnswer (name: string, item: TSchema): TSchema {
  return Type.Object({
    [name]: Type.Array(item),
    next_cursor: Type.Unsafe<string | null>({ type: ['string', 'null'], description: 'Where the next page begins: send it as cursor. null: this is the last one.' }),
  }, { additionalProperties: false })
}
