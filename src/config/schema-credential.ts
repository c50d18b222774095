import { CREDENTIAL_TYPES, FIELDS, type CredentialType } from './schema-credential-fields.js'
import type { ClientAuthMethod, JsonRefreshConfig, SigningAlgorithm } from './config.js'
import type { SecretSource } from './secret-ref.js'

export { CREDENTIAL_TYPES, type CredentialType }

/**
 * A credential as it is written. What must be there is checked after the upstream's defaults were merged in, so here
 * nothing is required.
 */
export interface RawCredential {
  type?: CredentialType
  token?: SecretSource
  token_endpoint?: string
  issuer?: string
  client_id?: string
  client_secret?: SecretSource
  client_auth?: ClientAuthMethod
  client_key?: SecretSource
  client_key_id?: string
  client_key_alg?: SigningAlgorithm
  refresh_token?: SecretSource
  access_token?: SecretSource
  scope?: string
  resource?: string
  url?: string
  method?: JsonRefreshConfig['method']
  headers?: Record<string, string | SecretSource>
  body?: unknown
  response?: { access_token?: string, refresh_token?: string, expires_in?: string }
  subject_token?: SecretSource
  subject_token_type?: string
  requested_token_type?: string
  audience?: string
  actor_token?: SecretSource
  actor_token_type?: string
  assertion?: SecretSource
  key?: SecretSource
  key_id?: string
  alg?: SigningAlgorithm
  typ?: string
  claims?: Record<string, unknown>
  lifetime?: string
  command?: string[]
  name?: string
  options?: unknown
}

/** The keys that a credential of this type may have, beside `type`. */
export function credentialKeys (type: CredentialType): string[] {
  return Object.keys(FIELDS[type])
}

/** Any JSON value. */
export const JSON_DEFINITION = {
  type: ['object', 'array', 'string', 'number', 'boolean', 'null'],
  additionalProperties: { $ref: '#/definitions/json' },
  items: { $ref: '#/definitions/json' },
  errorMessage: 'expected a JSON value',
}

/**
 * One branch for each type by if/then, not a union: a mistake then has one message, for the type that was meant, and
 * an editor offers that type's keys.
 */
export const CREDENTIAL_DEFINITION = {
  title: 'Credential',
  description: 'How a principal gets its token for an upstream.',
  type: 'object',
  properties: { type: { enum: CREDENTIAL_TYPES, description: 'Where tokens come from.' } },
  allOf: [
    ...CREDENTIAL_TYPES.map((type) => ({
      if: { type: 'object', properties: { type: { const: type } }, required: ['type'] },
      then: branch(FIELDS[type], `A credential of type ${type}.`),
    })),
    {
      if: { type: 'object', not: { required: ['type'] } },
      then: branch(Object.assign({}, ...Object.values(FIELDS)) as Record<string, object>, 'A credential whose type is the one of the upstream\'s defaults.'),
    },
  ],
}

function branch (fields: Record<string, object>, description: string) {
  return { description, properties: { type: {}, ...fields }, additionalProperties: false }
}
