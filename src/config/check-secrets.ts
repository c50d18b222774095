import { AdminTokenError, readAdminToken } from './admin-token.js'
import { bearerComplaint, isExpiredJwt, refreshComplaint } from './bearer-token.js'
import { isSecretRef, type Config, type CredentialConfig, type JsonTemplate, type SecretRef, type SigningKeyConfig, type StateConfig, type TokenEndpointConfig, type UpstreamConfig } from './config.js'
import { located } from './position.js'
import { type ConfigProblem, type Finding, formatPath, type Path } from './problem.js'
import { readRedisUrl } from './redis-url.js'
import { SecretRefError } from './secret-ref.js'
import { readPrivateKey, readSigningKey } from './signing-key.js'
import { belongTogether, certificateComplaint, notTogether, tlsKeyComplaint } from './tls-material.js'
import type { Secret } from '../secret.js'

const AT_ONCE = 8
const SESSION_KEY = /^vk_[A-Za-z0-9_-]{43}$/

interface Place {
  readonly path: Path
  readonly ref: SecretRef
  /** What is wrong with what is there, in words that go behind its place; it is never shown itself. */
  readonly complaint?: (value: string) => string | undefined
  readonly isSessionKey?: true
  /** Somebody else puts it there and replaces it: as a JWT it says itself until when it is good. */
  readonly mayExpire?: true
  /** Of a client certificate: where that is. */
  readonly keyOf?: UpstreamConfig['tls']
  /** What is looked at beyond its being there. */
  readonly check?: (text: string) => Promise<unknown>
}

type Looks = Omit<Place, 'path' | 'ref'>

/** What the grants ask of tokens that they find. */
const BEARS: Looks = { complaint: bearerComplaint }
const PUT_THERE: Looks = { ...BEARS, mayExpire: true }
const REFRESHES: Looks = { complaint: refreshComplaint }

export interface CheckSecretsOptions {
  /** Milliseconds since the epoch; without it nothing is judged by its age. */
  readonly now?: number
  /** Told of each secret that can be used, and likely does not do what is wanted. */
  readonly warn?: (warning: ConfigProblem) => void
}

/**
 * Reads every secret of a config once, at most eight at a time, and says which cannot be used and why; for `mcp-valet
 * check`. What is read is looked at and let go.
 * @returns problems in the order of the config; empty when all is well
 */
export async function checkSecrets (config: Config, { now, warn = () => {} }: CheckSecretsOptions = {}): Promise<ConfigProblem[]> {
  const places = secretPlaces(config)
  const results: Array<Secret | string> = []
  const queue = places.entries()
  const worker = async () => {
    for (const [index, place] of queue) results[index] = await readOne(place)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))

  const sessions = new Map<string, Path>()
  const read = new Map(places.map(({ ref }, index) => [ref, results[index]]))
  const warnings: Finding[] = []
  const problems = places.flatMap(({ path, ref, isSessionKey, mayExpire, keyOf }, index): Finding[] => {
    const result = results[index] as Secret | string
    if (typeof result === 'string') return [{ path, message: result }]
    if (mayExpire === true && now !== undefined && isExpiredJwt(result.reveal(), now)) warnings.push({ path, message: `${ref.source} is a JWT that has expired: put a new one there` })
    const cert = keyOf?.cert === undefined ? undefined : read.get(keyOf.cert)
    if (keyOf !== undefined && typeof cert === 'object' && !belongTogether(cert.reveal(), result.reveal())) return [{ path, message: `${ref.source} ${notTogether(keyOf)}` }]
    const twin = isSessionKey === true ? sessions.get(result.reveal()) : undefined
    if (twin !== undefined) return [{ path, message: `is the same key as ${formatPath(twin)}` }]
    if (isSessionKey === true) sessions.set(result.reveal(), path)
    return []
  })
  located(config.written, warnings).forEach(warn)
  return located(config.written, problems)
}

async function readOne ({ ref, complaint, check }: Place): Promise<Secret | string> {
  try {
    const secret = await ref.read()
    await check?.(secret.reveal())
    const wrong = complaint?.(secret.reveal())
    return wrong === undefined ? secret : `${ref.source} ${wrong}`
  } catch (error) {
    if (error instanceof SecretRefError) return error.message
    throw error
  }
}

function secretPlaces (config: Config): Place[] {
  const { token } = config.admin
  return [
    // What is read is held to what the admin API asks of it.
    ...token === undefined ? [] : one(['admin', 'token'], { source: token.source, read: async () => await fitAdminToken(token) }),
    ...statePlaces(config.state),
    ...[...config.upstreams.values()].flatMap(({ name, tls, subjectCredential }) => [
      ...tlsPlaces(['upstreams', name, 'tls'], tls),
      ...subjectCredential === undefined ? [] : credentialPlaces(['upstreams', name, 'credential'], subjectCredential),
    ]),
    ...[...config.principals.values()].flatMap(({ id, credentials }) =>
      [...credentials].flatMap(([upstream, credential]) => credentialPlaces(['principals', id, 'credentials', upstream], credential))),
    ...config.sessions.map(({ key }, index): Place => ({ path: ['sessions', index, 'key'], ref: key, complaint: sessionKeyComplaint, isSessionKey: true })),
  ]
}

/** Without it serve starts, as without any other secret that somebody has yet to put there. */
async function fitAdminToken (token: SecretRef): Promise<Secret> {
  try {
    return await readAdminToken(token)
  } catch (error) {
    throw error instanceof SecretRefError && !(error instanceof AdminTokenError) ? new SecretRefError(`${error.message}: until it can be read, the admin API answers 503`) : error
  }
}

function statePlaces (state: StateConfig): Place[] {
  if (state.driver === 'memory') return []
  return [
    ...state.driver === 'redis' ? [{ path: ['state', 'url'], ref: state.url, complaint: redisUrlComplaint }, ...tlsPlaces(['state', 'tls'], state.tls)] : [],
    ...one(['state', 'key'], state.key).map((place) => ({ ...place, complaint: stateKeyComplaint })),
    ...state.previousKeys.map((ref, index) => ({ path: ['state', 'previous_keys', index], ref, complaint: stateKeyComplaint })),
  ]
}

function redisUrlComplaint (url: string): string | undefined {
  try {
    readRedisUrl(url)
    return undefined
  } catch (error) {
    return `holds no address of Redis: ${(error as RangeError).message}`
  }
}

function stateKeyComplaint (key: string): string | undefined {
  return Buffer.byteLength(key) < 32 ? 'is too short for a state key: it needs at least 32 bytes, such as `openssl rand -base64 32` makes' : undefined
}

function sessionKeyComplaint (key: string): string | undefined {
  return SESSION_KEY.test(key) ? undefined : 'holds no session key (vk_ and 43 characters); generate one with: mcp-valet keygen'
}

function tlsPlaces (path: Path, tls: UpstreamConfig['tls']): Place[] {
  return [
    ...one([...path, 'ca'], tls.ca, { complaint: certificateComplaint }),
    ...one([...path, 'cert'], tls.cert, { complaint: certificateComplaint }),
    ...one([...path, 'key'], tls.key, { complaint: tlsKeyComplaint, keyOf: tls }),
  ]
}

function credentialPlaces (path: Path, credential: CredentialConfig): Place[] {
  const at = (key: string, ref: SecretRef | undefined, more?: Looks): Place[] => one([...path, key], ref, more)
  switch (credential.type) {
    case 'api_token':
      return at('token', credential.token, PUT_THERE)
    case 'client_credentials':
      return clientPlaces(path, credential)
    case 'refresh_token':
      return [...clientPlaces(path, credential), ...at('refresh_token', credential.refreshToken, REFRESHES), ...at('access_token', credential.accessToken, BEARS)]
    case 'token_exchange':
      return [...clientPlaces(path, credential), ...at('subject_token', credential.subjectToken, PUT_THERE), ...at('actor_token', credential.actorToken, PUT_THERE)]
    case 'jwt_bearer':
      return [...clientPlaces(path, credential), ...isSecretRef(credential.assertion) ? at('assertion', credential.assertion, PUT_THERE) : [keyPlace(path, credential.assertion)]]
    case 'signed_jwt':
      return [keyPlace(path, credential)]
    case 'command':
      return at('command', credential.output)
    case 'custom':
      return credential.options === undefined ? [] : templatePlaces([...path, 'options'], credential.options)
    case 'json_refresh':
      return [
        ...[...credential.headers].flatMap(([name, value]) => typeof value === 'string' ? [] : one([...path, 'headers', name], value)),
        ...credential.body === undefined ? [] : templatePlaces([...path, 'body'], credential.body),
        ...at('refresh_token', credential.refreshToken, REFRESHES),
        ...at('access_token', credential.accessToken, BEARS),
      ]
  }
}

function clientPlaces (path: Path, { clientSecret, clientKey }: TokenEndpointConfig): Place[] {
  if (clientKey === undefined) return one([...path, 'client_secret'], clientSecret)
  const { key, alg } = clientKey
  return [{ path: [...path, 'client_key'], ref: key, check: async (text) => await readPrivateKey(text, alg, key.source) }]
}

function keyPlace (path: Path, { key, alg }: SigningKeyConfig): Place {
  return { path: [...path, 'key'], ref: key, check: async (text) => await readSigningKey(text, alg, key.source) }
}

function templatePlaces (path: Path, template: JsonTemplate): Place[] {
  if (typeof template !== 'object' || template === null) return []
  if (isSecretRef(template)) return [{ path, ref: template }]
  const members: Array<[string | number, JsonTemplate]> = Array.isArray(template) ? [...template.entries()] : Object.entries(template)
  return members.flatMap(([key, member]) => templatePlaces([...path, key], member))
}

function one (path: Path, ref: SecretRef | undefined, looks: Looks = {}): Place[] {
  return ref === undefined ? [] : [{ path, ref, ...looks }]
}
