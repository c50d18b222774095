import { Type } from 'typebox'
import type { AnonymousReason } from './config.js'
import type { RawCredential } from './schema-credential.js'
import { duration, durationOrZero, publicPem, record, secret, text } from './schema-parts.js'
import { SIZE_EXPECTED } from './units.js'

const toolPattern = text('toolPattern', 'A tool\'s name, or a glob: * is any run of characters, ? is one. Case counts.', { examples: ['search_*'] })

export const ToolPolicy = Type.Object({
  allow: Type.Optional(Type.Array(toolPattern, { default: ['*'], description: 'Tools that may be seen and called.' })),
  deny: Type.Optional(Type.Array(toolPattern, { default: [], description: 'Tools that may not, whatever allow says.' })),
}, {
  additionalProperties: false,
  description: 'Which tools agents may see and call. The rules of upstream, principal and session apply together: each must allow a tool, and none deny it.',
})

const timeouts = Type.Object({
  connect: Type.Optional(duration('For the TCP and TLS handshakes.', '5s')),
  headers: Type.Optional(duration('Until the answer\'s headers are there, of each attempt. An interim answer (1xx) begins it anew.', '120s')),
  idle: Type.Optional(durationOrZero('Between two pieces of an answer\'s body. 0: an SSE stream may be silent for ever.', 0)),
}, { additionalProperties: false, description: 'Time-outs of one attempt.' })

/** @param towards whom, for the description */
export const tlsTowards = (towards: string) => Type.Object({
  ca: Type.Optional(publicPem('CA certificates to trust instead of the system\'s, as PEM. A relative path starts from the working directory.')),
  cert: Type.Optional(publicPem('Client certificate as PEM, with its chain.')),
  key: Type.Optional(secret('The client certificate\'s private key as PEM.')),
  server_name: Type.Optional(text('host', 'Name to expect in the server\'s certificate, and to send as SNI. Default: the host of the url.')),
}, { additionalProperties: false, description: `TLS towards ${towards}. Certificates are always verified.` })

const members = (description: string) => Type.Unsafe<Record<string, unknown>>({
  type: 'object',
  minProperties: 1,
  additionalProperties: { $ref: '#/definitions/json' },
  description,
  errorMessage: 'expected a map of members that the answer has, such as { reason: token_expired }',
})

const refusingError = Type.Object({
  code: Type.Optional(Type.Integer({ description: 'The error\'s code.', errorMessage: 'expected a whole number, such as 401' })),
  data: Type.Optional(Type.Unsafe<unknown>({ $ref: '#/definitions/json', description: 'What the error\'s data has: of a map those members that are named here, of a list all items.' })),
}, {
  additionalProperties: false,
  minProperties: 1,
  description: 'A JSON-RPC error. Its message is wording and is not looked at.',
  errorMessage: 'expected the error\'s code, members of its data, or both, such as { code: 401 }',
})

const refusingResult = Type.Object({
  isError: Type.Optional(Type.Unsafe<true>({ const: true, description: 'A tool\'s result counts only where it is an error, whether this is here or not.', errorMessage: 'expected true: a result that is no error refuses nothing' })),
  structuredContent: Type.Optional(members('Members that the result\'s structuredContent has.')),
  _meta: Type.Optional(members('Members that the result\'s _meta has.')),
}, {
  additionalProperties: false,
  description: 'A tool\'s result with isError: true. Its content is wording and is not looked at.',
  errorMessage: 'expected members of the result\'s structuredContent or _meta, such as { structuredContent: { code: TOKEN_EXPIRED } }',
})

const refusingAnswer = Type.Object({ error: Type.Optional(refusingError), result: Type.Optional(refusingResult) }, {
  additionalProperties: false,
  minProperties: 1,
  maxProperties: 1,
  title: 'Refusing answer',
  errorMessage: 'expected { error: .. } or { result: .. }, one of them',
})

export const Upstream = Type.Object({
  url: text('upstreamUrl', 'The MCP server\'s endpoint: http or https, without user name, query and fragment.', { examples: ['http://mcp-server:8001/mcp'] }),
  path: Type.Optional(text('mountPath', 'Where agents reach it. Default: /<name>/mcp.', { examples: ['/tools/mcp'] })),
  headers: Type.Optional(record<string>('injectedHeader', { type: 'string', reads: 'tokenTemplate' }, {
    description: 'The headers that carry the token: name → text with {token} in it, once.',
    default: { Authorization: 'Bearer {token}', 'X-API-KEY': '{token}' },
  })),
  anonymous: Type.Optional(Type.Array(
    Type.Unsafe<AnonymousReason>({ enum: ['no_principal', 'refresh_failed'] }),
    { uniqueItems: true, default: [], description: 'When a call may go out without a credential.' }
  )),
  refresh_on: Type.Optional(Type.Array(
    Type.Unsafe<number>({ enum: [401, 403] }),
    { uniqueItems: true, default: [401, 403], description: 'The upstream\'s statuses after which the token is refreshed and the call replayed.' }
  )),
  refresh_on_answer: Type.Optional(Type.Array(refusingAnswer, {
    default: [],
    maxItems: 32,
    description: 'Answers with status 200 by which the upstream refuses a token: after them too the token is refreshed and the call replayed. An answer fits where it has every member that one of these names, with the same value. Name only what says that nothing was done.',
    examples: [[{ error: { code: 401 } }, { result: { structuredContent: { code: 'TOKEN_EXPIRED' } } }]],
    errorMessage: 'expected a list of at most 32, such as [{ error: { code: 401 } }]',
  })),
  replays: Type.Optional(Type.Integer({
    minimum: 0, maximum: 10, default: 2, description: 'How often a call is sent again after a refusal.', errorMessage: 'expected a whole number from 0 to 10',
  })),
  backoff: Type.Optional(Type.Object({
    base: Type.Optional(duration('Pause before the first replay; doubled for each further one.', '100ms', 'durationOrZero')),
    max: Type.Optional(duration('The longest pause.', '2s', 'durationOrZero')),
  }, { additionalProperties: false, description: 'Pauses between replays.' })),
  deadline: Type.Optional(duration('For refresh and replays together, before the response starts: a refusal that comes later is not replayed. A replay that has been sent may take timeouts.headers, as the first attempt.', '30s')),
  timeouts: Type.Optional(timeouts),
  body_limit: Type.Optional(text('bodyLimit', 'Above it a call is refused with 413.', {
    default: '4MiB', pattern: '^[0-9]+(B|KiB|MiB|GiB)$', errorMessage: SIZE_EXPECTED,
  })),
  tls: Type.Optional(tlsTowards('the upstream')),
  tools: Type.Optional(ToolPolicy),
  credential: Type.Optional(Type.Unsafe<RawCredential>({
    $ref: '#/definitions/credential', description: 'Defaults for every principal\'s credential here. They do not apply where a principal\'s type is another one.',
  })),
}, { additionalProperties: false, title: 'Upstream', description: 'An MCP server behind the proxy.' })
