import { Type } from 'typebox'
import { KEY_PAIR_ALGORITHMS, type KeyPairAlgorithm } from './config.js'
import { duration, text } from './schema-parts.js'

export const DEFAULT_JWT_ALGORITHMS: readonly KeyPairAlgorithm[] = ['RS256', 'RS512', 'PS256', 'ES256', 'ES384', 'EdDSA']

const Jwt = Type.Object({
  issuer: text('headerText', 'The claim iss to the letter. Its metadata says where its keys are (RFC 8414), unless jwks_uri does.', { examples: ['https://id.example'] }),
  audience: Type.Unsafe<string | string[]>({
    description: 'The claim aud must hold this, or one of these. Give mcp-valet an audience of its own.',
    examples: ['mcp-valet'],
    anyOf: [{ type: 'string', reads: 'headerText' }, { type: 'array', minItems: 1, uniqueItems: true, items: { type: 'string', reads: 'headerText' } }],
    errorMessage: 'expected a text, or a list of different ones: printable ASCII characters, without space around them',
  }),
  jwks_uri: Type.Optional(text('httpUrl', 'Where the issuer\'s keys are (RFC 7517).', { examples: ['https://id.example/jwks'] })),
  principal_claim: Type.Optional(text('headerText', 'The claim that names the principal. It must be one that callers cannot choose.', { default: 'sub' })),
  agent_claim: Type.Optional(text('headerText', 'The claim that names the agent. Default: azp, else client_id, else the word jwt.')),
  algorithms: Type.Optional(Type.Array(Type.Unsafe<KeyPairAlgorithm>({ enum: KEY_PAIR_ALGORITHMS }), {
    minItems: 1, uniqueItems: true, default: DEFAULT_JWT_ALGORITHMS, description: 'Signature algorithms that are accepted (RFC 7518). None of them has a shared secret: whoever could check such a token could make one.',
  })),
  clock_tolerance: Type.Optional(duration('How far this machine\'s clock and the issuer\'s may differ; at most 5m.', '30s', 'clockTolerance')),
}, { additionalProperties: false, description: 'Callers that show a JWT instead of a session key.' })

export const Callers = Type.Object({
  header: Type.Optional(text('callerHeader', 'Header that carries a session key. Authorization: Bearer vk_… is always understood too.', { default: 'X-Session-Key' })),
  hosts: Type.Optional(Type.Array(text('host', 'A host name, with a port or without.'), {
    default: [], description: 'Names accepted in Host, beside loopback names and the listen address.',
  })),
  origins: Type.Optional(Type.Array(text('origin', 'scheme://host[:port]'), {
    default: [], description: 'Browsers\' Origins that may call; none by default.', examples: [['https://app.example']],
  })),
  relay_authorization: Type.Optional(Type.Boolean({
    default: false, description: 'Whether a caller without a session key keeps its own Authorization and X-API-KEY.',
  })),
  jwt: Type.Optional(Jwt),
}, { additionalProperties: false, description: 'Who may call, and how they say who they are.' })
