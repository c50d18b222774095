import { type Static, Type } from 'typebox'
import type { GivenCredential, GivenPrincipal } from '../../control.js'
import { BEARER_EXPECTED, BEARER_PATTERN, LONGEST_TOKEN, PRINTABLE_PATTERN } from '../../config/bearer-token.js'
import { GIVEN_TYPES } from '../../config/given-credential.js'
import { record, text } from '../../config/schema-parts.js'
import { LATEST_SECOND } from '../../config/units.js'
import { LARGEST_PAGE, USUAL_PAGE } from './page.js'
import { LONGEST_TTL, TTL_EXPECTED } from './ttl.js'

/**
 * What goes in and out under /v1. The keywords `reads` and `errorMessage` are those of the config's schema. An answer is
 * written by its schema, so what is not named here never leaves.
 */
const CLOSED = { additionalProperties: false } as const
const MOST_GLOBS = 1_000

/** A part that the OpenAPI document names once. */
function ref<T> (id: string) {
  return Type.Unsafe<T>({ $ref: `${id}#` })
}

const Glob = Type.String({
  maxLength: 256, pattern: '^[^\\p{C}\\p{Zl}\\p{Zp}]+$', errorMessage: 'expected the name of a tool, or a glob such as search_*', examples: ['search_*'],
})
const globs = (description: string) => Type.Array(Glob, { maxItems: MOST_GLOBS, description, errorMessage: `expected a list of at most ${MOST_GLOBS} names of tools or globs` })

/** A list, or an object with either key: as one schema, so that each bad entry is named and not the whole. */
const GivenTools = Type.Unsafe<readonly string[] | { allow?: readonly string[], deny?: readonly string[] }>({
  type: ['array', 'object'],
  items: Glob,
  maxItems: MOST_GLOBS,
  properties: { allow: globs('Without it: all.'), deny: globs('Wins over allow.') },
  ...CLOSED,
  description: 'The tools that may be seen and called: a list of names or globs, or { allow, deny }. Without it: all that principal and upstream allow; an empty list: none.',
  examples: [['search_*', 'whoami'], { deny: ['admin_*'] }],
  errorMessage: 'expected a list of names or globs of tools, or { "allow": [..], "deny": [..] }',
})

const principalName = text('principal', 'Name of a principal.', { examples: ['alice'] })
const upstreamName = text('upstream', 'Name of an upstream in the config.', { examples: ['tools'] })
const Time = (description: string) => Type.Unsafe<string | null>({ type: ['string', 'null'], format: 'date-time', description: `${description} (RFC 3339), or null.` })
const Rules = (description: string) => Type.Unsafe<{ allow: string[], deny: string[] } | null>({
  type: ['object', 'null'], properties: { allow: Type.Array(Type.String()), deny: Type.Array(Type.String()) }, required: ['allow', 'deny'], ...CLOSED, description,
})
const Source = Type.Unsafe<'config' | 'api'>({ type: 'string', enum: ['config', 'api'], description: 'Where it comes from: the config, or a request.' })

const session = {
  id: Type.String({ examples: ['ses_5rDqPjzXN0Vb'] }),
  principal: Type.String(),
  agent: Type.String(),
  tools: Rules('The tools that it may call of those that its principal may; null: all of them.'),
  expires_at: Time('When it ends'),
}
export const Session = Type.Object({ ...session, source: Source }, { $id: 'Session', ...CLOSED })
export const NewSession = Type.Object({ ...session, key: Type.String({ description: 'The session key. This is the only time that it is shown.', examples: ['vk_…'] }) }, { $id: 'NewSession', ...CLOSED })
export const AskedSession = Type.Object({
  principal: principalName,
  agent: text('agent', 'Name of the agent, for logs and for its MCP sessions.', { examples: ['planner'] }),
  tools: Type.Optional(GivenTools),
  ttl: Type.Optional(Type.Unsafe<string | number>({
    type: ['string', 'integer'], pattern: '^[0-9]{1,9}[smhd]$', minimum: 1, maximum: LONGEST_TTL / 1000, examples: ['2h', 7200], description: 'How long it lives: a duration, or seconds. Without it it has no end.', errorMessage: TTL_EXPECTED,
  })),
}, CLOSED)

export const Principal = Type.Object({
  id: Type.String(),
  tools: Rules('The tools that its sessions may call; null: all that the upstreams allow.'),
  source: Type.Unsafe<'config' | 'api' | 'both'>({ type: 'string', enum: ['config', 'api', 'both'], description: 'both: the config names it, and some of its credentials were put at run time.' }),
  upstreams: Type.Array(Type.String(), { description: 'Names of the upstreams that it has a credential for.' }),
}, { $id: 'Principal', ...CLOSED })

const token = (description: string) => Type.String({
  minLength: 1,
  maxLength: LONGEST_TOKEN,
  pattern: BEARER_PATTERN,
  description,
  errorMessage: BEARER_EXPECTED,
})
const printable = (most: number, what: string, description: string) => Type.String({
  minLength: 1, maxLength: most, pattern: PRINTABLE_PATTERN, description, errorMessage: `expected ${what}: 1 to ${most} printable ASCII characters`,
})

export const GivenCredentialSchema = Type.Object({
  type: Type.Optional(Type.Unsafe<string>({
    type: 'string',
    enum: [...GIVEN_TYPES],
    description: 'Default: the type of the upstream\'s credential in the config.',
    errorMessage: `expected one of ${GIVEN_TYPES.join(', ')}; the other types take nothing from a login: they are named in the config`,
  })),
  token: Type.Optional(token('Of an api_token: the token itself.')),
  access_token: Type.Optional(token('The access token that is good now. Without it the first call waits for a refresh.')),
  expires_in: Type.Optional(Type.Integer({
    minimum: 0, maximum: 2 ** 31 - 1, description: 'Seconds that access_token still lives; of a JWT its own exp counts.', errorMessage: 'expected a whole number of seconds from 0 to 2147483647',
  })),
  refresh_token: Type.Optional(printable(LONGEST_TOKEN, 'a refresh token (RFC 6749)', 'The refresh token. From now on it is mcp-valet that uses it: whoever else did would end it.')),
  token_endpoint: Type.Optional(text('httpUrl', 'The authorization server\'s token endpoint. This or issuer.')),
  issuer: Type.Optional(text('issuer', 'The authorization server\'s issuer identifier (RFC 8414). This or token_endpoint.')),
  client_id: Type.Optional(text('headerText', 'The client that the token was issued to.')),
  client_secret: Type.Optional(printable(4096, 'a client secret', 'The client\'s secret.')),
  client_secret_expires_at: Type.Optional(Type.Integer({
    minimum: 0, maximum: LATEST_SECOND, description: 'When client_secret ends, in seconds since the epoch, as the issuer said when it registered the client (RFC 7591); 0: never.', errorMessage: `expected a whole number of seconds since 1970, from 0 to ${LATEST_SECOND}`,
  })),
  client_auth: Type.Optional(Type.String({ pattern: '^[a-z_]{1,40}$', description: 'How the client authenticates.', errorMessage: 'expected a method such as client_secret_basic' })),
  scope: Type.Optional(text('scope', 'Scopes, with spaces between them.')),
  resource: Type.Optional(text('resource', 'Resource indicator (RFC 8707), or none for issuers that refuse one. Default: the upstream\'s url.')),
  audience: Type.Optional(text('headerText', 'Of client_credentials: the name of the service that the token is for, as the issuer knows it.')),
}, { $id: 'GivenCredential', ...CLOSED, description: 'The keys of a credential in the config, over the upstream\'s defaults, with the values themselves where secrets are.' })

export const GivenPrincipalSchema = Type.Object({
  tools: Type.Optional(GivenTools),
  credentials: record<GivenCredential>('upstream', ref('GivenCredential'), { maxProperties: 256, description: 'Upstream name → credential.' }),
}, CLOSED)

export const CredentialAnswer = Type.Object({
  principal: Type.String(),
  upstream: Type.String(),
  type: Type.String({ examples: ['refresh_token'] }),
  state: Type.Unsafe<string>({
    type: 'string', enum: ['valid', 'expiring', 'expired', 'failed', 'revoked'], description: 'failed: renewing it fails for now, and is tried again. revoked: somebody must log in again.',
  }),
  source: Source,
  expires_at: Time('When the access token expires'),
  refreshed_at: Time('When it was last renewed'),
  token: Type.Unsafe<string | null>({ type: ['string', 'null'], description: 'Fingerprint of the access token: the first 8 hex digits of its SHA-256.' }),
  error: Type.Unsafe<string | null>({ type: ['string', 'null'], description: 'Why the last renewal failed, if it did.' }),
}, { $id: 'Credential', ...CLOSED })

export const UpstreamsAnswer = Type.Object({
  proxy: Type.String({ description: 'Where agents call: an origin, or unix:/path.sock.', examples: ['http://127.0.0.1:8401'] }),
  header: Type.String({ description: 'The header that carries the session key.', examples: ['x-session-key'] }),
  upstreams: Type.Array(Type.Object({
    name: Type.String(),
    path: Type.String({ description: 'What goes behind the proxy\'s address.', examples: ['/tools/mcp'] }),
    url: Type.String({ description: 'The MCP server itself.' }),
  }, CLOSED)),
}, { $id: 'Upstreams', ...CLOSED })

export const ErrorAnswer = Type.Object({
  error: Type.Object({
    code: Type.String({ description: 'Stable: branch on this.', examples: ['ERR_REQUEST_INVALID'] }),
    message: Type.String(),
    details: Type.Array(Type.Object({ path: Type.String({ examples: ['credentials.tools.token'] }), message: Type.String() }, CLOSED)),
    request_id: Type.String({ description: 'The log tells more under this id.' }),
  }, CLOSED),
}, { $id: 'Error', ...CLOSED })

const cursor = Type.Optional(Type.String({ maxLength: 2048, description: 'The next_cursor of the page before.' }))
const limit = Type.Optional(Type.Integer({
  minimum: 1, maximum: LARGEST_PAGE, default: USUAL_PAGE, description: 'Entries of a page, at most.', errorMessage: `expected a whole number from 1 to ${LARGEST_PAGE}`,
}))
export const PageQuery = Type.Object({ limit, cursor }, CLOSED)
export const SessionQuery = Type.Object({ principal: Type.Optional(principalName), limit, cursor }, CLOSED)
export const CredentialQuery = Type.Object({ principal: Type.Optional(principalName), upstream: Type.Optional(upstreamName), limit, cursor }, CLOSED)

export const EventsQuery = Type.Object({ principal: Type.Optional(principalName) }, CLOSED)

export const SessionParams = Type.Object({
  id: Type.String({ minLength: 1, maxLength: 128, description: 'Id of a session.', errorMessage: 'expected the id of a session, as the list of sessions has it: 1 to 128 characters, such as ses_5rDqPjzXN0Vb' }),
}, CLOSED)
export const PrincipalParams = Type.Object({ id: principalName }, CLOSED)
export const PrincipalUpstreamParams = Type.Object({ id: principalName, upstream: upstreamName }, CLOSED)
export const CredentialParams = Type.Object({ principal: principalName, upstream: upstreamName }, CLOSED)

/** Parts that answers and requests refer to by their `$id`. */
export const PARTS = [Session, NewSession, Principal, GivenCredentialSchema, CredentialAnswer, UpstreamsAnswer, ErrorAnswer] as const

export const Refs = {
  Session: ref<Static<typeof Session>>('Session'),
  NewSession: ref<Static<typeof NewSession>>('NewSession'),
  Principal: ref<Static<typeof Principal>>('Principal'),
  GivenCredential: ref<GivenCredential>('GivenCredential'),
  Credential: ref<Static<typeof CredentialAnswer>>('Credential'),
  Upstreams: ref<Static<typeof UpstreamsAnswer>>('Upstreams'),
  Error: ref<Static<typeof ErrorAnswer>>('Error'),
}

export type AskedTools = Static<typeof GivenTools>
export type AskedPrincipal = Omit<GivenPrincipal, 'tools'> & { readonly tools?: AskedTools }
