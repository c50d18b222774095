import { type Static, Type } from 'typebox'
import { Callers } from './schema-callers.js'
import { REDIS_URL_FORMS } from './redis-url.js'
import { CREDENTIAL_DEFINITION, JSON_DEFINITION, type RawCredential } from './schema-credential.js'
import { duration, record, secret, SECRET_DEFINITION, text } from './schema-parts.js'
import { tlsTowards, ToolPolicy, Upstream } from './schema-upstream.js'

const Listen = (description: string, fallback: string) =>
  text('listen', description, { default: fallback, examples: [fallback, '[::1]:0', 'unix:/run/mcp-valet.sock'] })

const State = Type.Object({
  driver: Type.Optional(Type.Unsafe<'memory' | 'lmdb' | 'redis'>({
    enum: ['memory', 'lmdb', 'redis'],
    default: 'lmdb',
    description: 'memory: refreshed tokens are lost with the process. lmdb: kept in a folder of this machine, which several processes may share (containers only where they share a PID namespace). redis: shared by sidecars on any machine.',
  })),
  path: Type.Optional(text('file', 'Folder of the lmdb store; a relative path starts from the working directory.', { default: './var/state' })),
  url: Type.Optional(secret(`Where Redis is, for driver redis; a secret, as it may hold a password. Its value is one of: ${REDIS_URL_FORMS}. For refresh tokens that rotate let Redis keep what it was told (appendonly yes): with a pair that it forgets the login is lost.`)),
  prefix: Type.Optional(text('redisPrefix', 'What every key in Redis begins with: sidecars that share principals have the same.', { default: 'mcp-valet:' })),
  tls: Type.Optional(tlsTowards('Redis')),
  key: Type.Optional(secret('Seals tokens at rest, 32 bytes or more. Without it lmdb makes a key file of its own (mode 0600). Redis needs it, and the same one for every sidecar.')),
  previous_keys: Type.Optional(Type.Array(secret('An earlier key.'), {
    default: [], description: 'Keys that were state.key before: what they sealed still opens, and is sealed with state.key when it is next written.',
  })),
}, { additionalProperties: false, description: 'Where refreshed tokens are kept.' })

const Drain = Type.Object({
  calls: Type.Optional(duration('For calls, those that stream their answer included.', '20s')),
  streams: Type.Optional(duration('For streams that only listen; their agents open them anew, elsewhere.', '5s')),
}, { additionalProperties: false, description: 'How long what is under way may take to end when the sidecar is told to stop (SIGTERM).' })

const Principal = Type.Object({
  tools: Type.Optional(ToolPolicy),
  credentials: Type.Optional(record<RawCredential>(undefined, { $ref: '#/definitions/credential' }, {
    description: 'Upstream name → credential. {} takes all the defaults of the upstream\'s credential.',
  })),
}, { additionalProperties: false, title: 'Principal', description: 'Somebody on whose behalf agents call.' })

const Session = Type.Object({
  principal: text('principal', 'Name of the principal that the agent acts for.'),
  agent: text('agent', 'Name of the agent, for logs and session binding.'),
  key: secret('The session key: vk_ and 43 characters. Generate one with: mcp-valet keygen'),
  tools: Type.Optional(ToolPolicy),
  expires_at: Type.Optional(text('timestamp', 'When the session ends (RFC 3339).', { examples: ['2027-01-01T00:00:00Z'] })),
}, { additionalProperties: false, title: 'Session', description: 'A session key that is known from the start.' })

/** The whole config as it is written. The keywords `reads` and `errorMessage` are mcp-valet's own; see validate.ts. */
export const ConfigSchema = Type.Object({
  $schema: Type.Optional(Type.String({ description: 'For editors, in a JSON config.' })),
  listen: Type.Optional(Listen('Where agents call: host:port, [IPv6]:port or unix:/path.sock. Port 0 picks a free one.', '127.0.0.1:8401')),
  admin: Type.Optional(Type.Object({
    listen: Type.Optional(Listen('Where health, metrics and the admin API are.', '127.0.0.1:8402')),
    token: Type.Optional(secret('The token that the admin API under /v1 asks for, 16 to 4096 characters. Without it the admin API is off; health and metrics stay.')),
  }, { additionalProperties: false, description: 'Health, metrics and the admin API.' })),
  callers: Type.Optional(Callers),
  drain: Type.Optional(Drain),
  state: Type.Optional(State),
  upstreams: record<Static<typeof Upstream>>('upstream', Upstream, {
    minProperties: 1, description: 'Name → MCP server. Names become metric labels and paths.', errorMessage: 'expected at least one upstream, such as tools: { url: http://mcp-server:8001/mcp }',
  }),
  principals: Type.Optional(record<Static<typeof Principal>>('principal', Principal, { description: 'Name → principal.' })),
  sessions: Type.Optional(Type.Array(Session, { description: 'Sessions that are known from the start.' })),
}, {
  $schema: 'http://json-schema.org/draft-07/schema#',
  title: 'mcp-valet configuration',
  description: 'Only upstreams is required. Durations: 250ms 5s 2m 1h. Sizes: 64KiB 4MiB. Relative paths start from the working directory.',
  additionalProperties: false,
  definitions: { secret: SECRET_DEFINITION, json: JSON_DEFINITION, credential: CREDENTIAL_DEFINITION },
})

export type RawConfig = Static<typeof ConfigSchema>
export type RawUpstream = Static<typeof Upstream>

/**
 * The config's JSON Schema (draft 7, which yaml-language-server reads), ending in a newline. It is the content of
 * config/valet.schema.json byte for byte: write it out as it is, without a further newline.
 */
export function configSchemaText (): string {
  return JSON.stringify(ConfigSchema, (key, value: unknown) => key === 'reads' && typeof value === 'string' ? undefined : value, 2) + '\n'
}
