import { createPrivateKey, type JsonWebKeyInput, type KeyObject } from 'node:crypto'
import { importPKCS8, type CryptoKey } from 'jose'
import { SIGNING_ALGORITHMS, type SigningAlgorithm } from './config.js'
import { SecretRefError } from './secret-error.js'

/** A key that is ready to sign: for HS* its bytes. */
export interface SigningKey<K = CryptoKey | Uint8Array> {
  readonly alg: SigningAlgorithm
  /** The JWK's own `kid`. */
  readonly keyId: string | undefined
  readonly key: K
}

type Jwk = Readonly<Record<string, unknown>>

/** Bytes that an HMAC key must have at least: as many as its hash (RFC 7518 §3.2). */
const HMAC_BYTES = { HS256: 32, HS384: 48, HS512: 64 } as const
const RSA_BITS = 2048
const EC_ALGORITHMS: Readonly<Record<string, SigningAlgorithm>> = { prime256v1: 'ES256', secp384r1: 'ES384', secp521r1: 'ES512' }

/**
 * Makes a signing key of what a secret holds: PEM (PKCS #8, PKCS #1 or SEC 1), a JWK (RFC 7517), or for HS* any text,
 * which is taken as it stands.
 * @param alg what the config asks for; undefined: the JWK's own, else RS256, ES256/384/512 or EdDSA as the key is
 * @param source where the text comes from, for messages
 * @throws {SecretRefError} that says what is wrong with the key, and holds nothing of it
 */
export async function readSigningKey (text: string, alg: SigningAlgorithm | undefined, source: string): Promise<SigningKey> {
  const jwk = parseJwk(text)
  if (jwk !== undefined) checkUse(jwk, source)
  const declared = jwk === undefined ? undefined : SIGNING_ALGORITHMS.find((known) => known === jwk.alg)
  if (alg !== undefined && declared !== undefined && !isSame(alg, declared)) throw new SecretRefError(`${source} is a JWK for ${declared}, and not for ${alg}`)
  const wanted = alg ?? declared
  const keyId = typeof jwk?.kid === 'string' && jwk.kid !== '' ? jwk.kid : undefined
  if (isHmac(wanted)) return { alg: wanted, keyId, key: hmacKey(text, jwk, wanted, source) }
  if (jwk?.kty === 'oct') throw new SecretRefError(`${source} is a symmetric key, which only HS256, HS384 and HS512 sign with${wanted === undefined ? ': say so with alg' : ''}`)

  const pair = jwk === undefined ? fromPem(text, source) : fromJwk(jwk, source)
  const fitting = algorithmsOf(pair, source)
  const chosen = wanted ?? fitting[0] as SigningAlgorithm
  if (!fitting.includes(chosen)) throw new SecretRefError(`${source} cannot sign with ${chosen}: its key is for ${fitting.join(', ')}`)
  try {
    return { alg: chosen, keyId, key: await importPKCS8(pair.export({ type: 'pkcs8', format: 'pem' }) as string, chosen) }
  } catch {
    throw unreadable(source)
  }
}

/** As `readSigningKey`, for a client that its issuer knows by its public key (RFC 7523 §2.2): HS* is none. */
export async function readPrivateKey (text: string, alg: SigningAlgorithm | undefined, source: string): Promise<SigningKey<CryptoKey>> {
  const { key, ...rest } = await readSigningKey(text, alg, source)
  if (key instanceof Uint8Array) throw new SecretRefError(`${source} is a shared secret, and private_key_jwt needs a private key`)
  return { ...rest, key }
}

function isHmac (alg: SigningAlgorithm | undefined): alg is keyof typeof HMAC_BYTES {
  return alg !== undefined && alg in HMAC_BYTES
}

/** EdDSA with Ed25519 has two names (RFC 9864). */
function isSame (a: SigningAlgorithm, b: SigningAlgorithm): boolean {
  return a === b || (/^Ed/.test(a) && /^Ed/.test(b))
}

function parseJwk (text: string): Jwk | undefined {
  if (!/^\s*\{/.test(text)) return undefined
  try {
    const value = JSON.parse(text) as Jwk
    return typeof value.kty === 'string' || Array.isArray(value.keys) ? value : undefined
  } catch {
    return undefined
  }
}

/** RFC 7517 §4.2, §4.3 and §4.4. */
function checkUse (jwk: Jwk, source: string): void {
  if (Array.isArray(jwk.keys)) throw new SecretRefError(`${source} is a JWK set: give one key`)
  if (jwk.use === 'enc' || (Array.isArray(jwk.key_ops) && !jwk.key_ops.includes('sign'))) throw new SecretRefError(`${source} is a JWK that is not for signing (use, key_ops)`)
  if (jwk.alg !== undefined && !SIGNING_ALGORITHMS.some((known) => known === jwk.alg)) throw new SecretRefError(`${source} is a JWK for an algorithm that is none of ${SIGNING_ALGORITHMS.join(', ')}`)
}

function hmacKey (text: string, jwk: Jwk | undefined, alg: keyof typeof HMAC_BYTES, source: string): Uint8Array {
  // A key pair taken for a secret is a mistake; with the public half it would let anybody sign.
  if (isPem(text) || (jwk !== undefined && jwk.kty !== 'oct')) throw new SecretRefError(`${source} is a key pair or a part of one, and ${alg} needs a shared secret`)
  const bytes = jwk === undefined ? Buffer.from(text) : Buffer.from(typeof jwk.k === 'string' ? jwk.k : '', 'base64url')
  if (bytes.length < HMAC_BYTES[alg]) throw new SecretRefError(`${source} is too short for ${alg}: it must have at least ${HMAC_BYTES[alg]} bytes (RFC 7518)`)
  return bytes
}

function isPem (text: string): boolean {
  return /-----BEGIN [A-Z0-9 ]{1,40}-----/.test(text)
}

function fromPem (text: string, source: string): KeyObject {
  if (!isPem(text)) throw new SecretRefError(`${source} holds no private key: expected PEM (-----BEGIN PRIVATE KEY-----) or a JWK`)
  if (/-----BEGIN ENCRYPTED |^Proc-Type: 4,ENCRYPTED/m.test(text)) throw new SecretRefError(`${source} is encrypted: store the key without a passphrase, for example with openssl pkey`)
  if (text.includes('-----BEGIN OPENSSH ')) throw new SecretRefError(`${source} is in OpenSSH's own format: convert it with ssh-keygen -p -m pkcs8`)
  if (!/-----BEGIN ([A-Z]+ )?PRIVATE KEY-----/.test(text)) throw new SecretRefError(`${source} holds no private key but something public, a certificate or a public key`)
  try {
    // In a variable a line break is often written as \n.
    return createPrivateKey(text.includes('\n') ? text : text.replaceAll('\\n', '\n'))
  } catch {
    throw unreadable(source)
  }
}

function unreadable (source: string): SecretRefError {
  return new SecretRefError(`${source} is a private key that cannot be read: is it complete?`)
}

function fromJwk (jwk: Jwk, source: string): KeyObject {
  if (jwk.d === undefined) throw new SecretRefError(`${source} is a public JWK: the private one is needed, which has a d`)
  try {
    return createPrivateKey({ key: jwk, format: 'jwk' } as JsonWebKeyInput)
  } catch {
    throw new SecretRefError(`${source} is a JWK that cannot be read: is it complete, and its kty RSA, EC or OKP?`)
  }
}

/** What a key can sign with, what is meant by default first. */
function algorithmsOf (key: KeyObject, source: string): readonly SigningAlgorithm[] {
  const { modulusLength = 0, namedCurve = '' } = key.asymmetricKeyDetails ?? {}
  switch (key.asymmetricKeyType) {
    case 'rsa':
      // RFC 7518 §3.3
      if (modulusLength < RSA_BITS) throw new SecretRefError(`${source} is an RSA key of fewer than ${RSA_BITS} bits`)
      return ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512']
    case 'rsa-pss':
      throw new SecretRefError(`${source} is a key of type RSA-PSS: give an ordinary RSA key, and ask for PS256, PS384 or PS512`)
    case 'ec':
      if (EC_ALGORITHMS[namedCurve] === undefined) throw new SecretRefError(`${source} is on a curve that JWTs are not signed with: P-256, P-384 and P-521 are`)
      return [EC_ALGORITHMS[namedCurve]]
    case 'ed25519':
      return ['EdDSA', 'Ed25519']
    default:
      throw new SecretRefError(`${source} is a key of a type that JWTs are not signed with: RSA, EC and Ed25519 are`)
  }
}
