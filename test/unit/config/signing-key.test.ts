import { createPublicKey, generateKeyPairSync, randomBytes, type KeyObject } from 'node:crypto'
import { inspect } from 'node:util'
import { jwtVerify, SignJWT, type CryptoKey } from 'jose'
import t, { type Test } from 'tap'
import { KEY_PAIR_ALGORITHMS, type SigningAlgorithm } from '../../../src/config/config.js'
import { readPrivateKey, readSigningKey } from '../../../src/config/signing-key.js'
import { Canaries } from '../../helpers/canary.js'

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
const ec = (namedCurve: string): KeyObject => generateKeyPairSync('ec', { namedCurve }).privateKey
const p256 = ec('P-256')
const ed25519 = generateKeyPairSync('ed25519').privateKey
const pem = (key: KeyObject, type: 'pkcs8' | 'pkcs1' | 'sec1' = 'pkcs8'): string => key.export({ type: type as 'pkcs8', format: 'pem' }) as string
const jwk = (key: KeyObject, more: object = {}): string => JSON.stringify({ ...key.export({ format: 'jwk' }), ...more }, null, 2)

/** What the key is taken for, once it has signed something that its public half verifies. */
async function used (text: string, alg?: SigningAlgorithm, pair?: KeyObject): Promise<string> {
  const signing = await readSigningKey(text, alg, 'file K')
  const jwt = await new SignJWT({}).setProtectedHeader({ alg: signing.alg }).sign(signing.key)
  await jwtVerify(jwt, pair === undefined ? signing.key : createPublicKey(pair), { algorithms: [signing.alg] })
  return signing.keyId === undefined ? signing.alg : `${signing.alg} ${signing.keyId}`
}

/** The message of the error, which holds nothing of the key. */
async function refusal (t: Test, text: string, alg?: SigningAlgorithm): Promise<string> {
  const error: unknown = await readSigningKey(text, alg, 'file K').then(() => undefined, (reason: unknown) => reason)
  t.match(error, { name: 'SecretRefError' })
  const canaries = new Canaries()
  canaries.add('the key', text.replaceAll(/-----[A-Z0-9 ]+-----|\s/g, ''))
  t.same(canaries.findIn(inspect(error, { depth: 5 })), [])
  return (error as Error).message
}

t.test('a key signs with its own algorithm, unless it is told another that it can', async (t) => {
  for (const form of [pem(rsa), pem(rsa, 'pkcs1'), jwk(rsa)]) t.equal(await used(form, undefined, rsa), 'RS256')
  for (const form of [pem(p256), pem(p256, 'sec1'), jwk(p256)]) t.equal(await used(form, undefined, p256), 'ES256')
  for (const form of [pem(ed25519), jwk(ed25519)]) t.equal(await used(form, undefined, ed25519), 'EdDSA')
  for (const [curve, alg] of [['P-384', 'ES384'], ['P-521', 'ES512']] as const) {
    const key = ec(curve)
    t.equal(await used(pem(key), undefined, key), alg)
  }
  for (const alg of KEY_PAIR_ALGORITHMS) {
    const key = alg.startsWith('E') ? (alg.startsWith('Ed') ? ed25519 : ec({ ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' }[alg as 'ES256'])) : rsa
    t.equal(await used(pem(key), alg, key), alg)
  }
})

t.test('a JWK says what it is for, and its id', async (t) => {
  t.equal(await used(jwk(rsa, { alg: 'PS384', kid: 'k1', use: 'sig', key_ops: ['sign'] }), undefined, rsa), 'PS384 k1')
  t.equal(await used(jwk(rsa, { kid: 7 }), undefined, rsa), 'RS256')
  t.equal(await used(jwk(ed25519, { alg: 'Ed25519' }), 'EdDSA', ed25519), 'EdDSA', 'two names for one algorithm')
  t.equal(await refusal(t, jwk(rsa, { alg: 'PS384' }), 'RS256'), 'file K is a JWK for PS384, and not for RS256')
  t.match(await refusal(t, jwk(rsa, { alg: 'RSA-OAEP' })), /^file K is a JWK for an algorithm that is none of RS256, /)
  for (const more of [{ use: 'enc' }, { key_ops: ['verify'] }]) t.equal(await refusal(t, jwk(rsa, more)), 'file K is a JWK that is not for signing (use, key_ops)')
  t.equal(await refusal(t, JSON.stringify({ keys: [JSON.parse(jwk(rsa))] })), 'file K is a JWK set: give one key')
})

t.test('PEM in a variable may have its line breaks written as \\n, and something before it', async (t) => {
  t.equal(await used(pem(p256).trim().replaceAll('\n', '\\n'), undefined, p256), 'ES256')
  t.equal(await used(`Bag Attributes\n  friendlyName: x\n${pem(rsa)}`, undefined, rsa), 'RS256')
})

t.test('HS* takes any text that is long enough, and a symmetric JWK', async (t) => {
  for (const [alg, bytes] of [['HS256', 32], ['HS384', 48], ['HS512', 64]] as const) {
    t.equal(await used('x'.repeat(bytes), alg), alg)
    t.equal(await refusal(t, 'x'.repeat(bytes - 1), alg), `file K is too short for ${alg}: it must have at least ${bytes} bytes (RFC 7518)`)
    const k = (length: number): string => JSON.stringify({ kty: 'oct', k: randomBytes(length).toString('base64url'), alg, kid: 'm' })
    t.equal(await used(k(bytes)), `${alg} m`)
    t.match(await refusal(t, k(bytes - 1), alg), /^file K is too short/)
  }
  t.match(await refusal(t, JSON.stringify({ kty: 'oct' }), 'HS256'), /^file K is too short/)
  t.equal(await used(JSON.stringify({ not: 'a JWK, but a long secret all the same' }), 'HS256'), 'HS256')
})

t.test('a key of the wrong kind is refused, and told without a word of it', async (t) => {
  const symmetric = JSON.stringify({ kty: 'oct', k: randomBytes(32).toString('base64url') })
  const publicKey = createPublicKey(rsa)
  const secp256k1 = ec('secp256k1')
  const cases: Array<[text: string, alg: SigningAlgorithm | undefined, message: string]> = [
    [pem(rsa), 'ES256', 'file K cannot sign with ES256: its key is for RS256, RS384, RS512, PS256, PS384, PS512'],
    [pem(p256), 'ES384', 'file K cannot sign with ES384: its key is for ES256'],
    [pem(ed25519), 'RS256', 'file K cannot sign with RS256: its key is for EdDSA, Ed25519'],
    [jwk(p256), 'HS256', 'file K is a key pair or a part of one, and HS256 needs a shared secret'],
    [pem(rsa), 'HS256', 'file K is a key pair or a part of one, and HS256 needs a shared secret'],
    [publicKey.export({ type: 'spki', format: 'pem' }) as string, 'HS512', 'file K is a key pair or a part of one, and HS512 needs a shared secret'],
    [symmetric, undefined, 'file K is a symmetric key, which only HS256, HS384 and HS512 sign with: say so with alg'],
    [symmetric, 'RS256', 'file K is a symmetric key, which only HS256, HS384 and HS512 sign with'],
    [publicKey.export({ type: 'spki', format: 'pem' }) as string, undefined, 'file K holds no private key but something public, a certificate or a public key'],
    [JSON.stringify(publicKey.export({ format: 'jwk' })), undefined, 'file K is a public JWK: the private one is needed, which has a d'],
    [pem(generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey), undefined, 'file K is an RSA key of fewer than 2048 bits'],
    [pem(generateKeyPairSync('rsa-pss', { modulusLength: 2048 }).privateKey), undefined, 'file K is a key of type RSA-PSS: give an ordinary RSA key, and ask for PS256, PS384 or PS512'],
    [pem(secp256k1), undefined, 'file K is on a curve that JWTs are not signed with: P-256, P-384 and P-521 are'],
    [pem(generateKeyPairSync('x25519').privateKey), undefined, 'file K is a key of a type that JWTs are not signed with: RSA, EC and Ed25519 are'],
    [rsa.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'p' }) as string, undefined, 'file K is encrypted: store the key without a passphrase, for example with openssl pkey'],
    [rsa.export({ type: 'pkcs1', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'p' }) as string, undefined, 'file K is encrypted: store the key without a passphrase, for example with openssl pkey'],
    ['-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\n-----END OPENSSH PRIVATE KEY-----', undefined, 'file K is in OpenSSH\'s own format: convert it with ssh-keygen -p -m pkcs8'],
    [pem(rsa).slice(0, 400), undefined, 'file K is a private key that cannot be read: is it complete?'],
    [`-----BEGIN PRIVATE KEY-----\n${'A'.repeat(60_000)}\n-----END PRIVATE KEY-----`, undefined, 'file K is a private key that cannot be read: is it complete?'],
    [jwk(p256, { d: 'AA' }), undefined, 'file K is a private key that cannot be read: is it complete?'],
    [JSON.stringify({ kty: 'none', d: 'x' }), undefined, 'file K is a JWK that cannot be read: is it complete, and its kty RSA, EC or OKP?'],
    ['some other text', undefined, 'file K holds no private key: expected PEM (-----BEGIN PRIVATE KEY-----) or a JWK'],
    ['{ "kty": "RSA"', 'RS256', 'file K holds no private key: expected PEM (-----BEGIN PRIVATE KEY-----) or a JWK'],
  ]
  for (const [text, alg, message] of cases) t.equal(await refusal(t, text, alg), message)
})

t.test('a client proves itself with a private key only', async (t) => {
  const { key, ...rest } = await readPrivateKey(jwk(rsa, { kid: 'k' }), 'PS256', 'file K')
  t.strictSame(rest, { alg: 'PS256', keyId: 'k' })
  t.equal((key as CryptoKey).type, 'private')
  t.equal((key as CryptoKey).extractable, false)
  const symmetric = JSON.stringify({ kty: 'oct', alg: 'HS256', k: randomBytes(32).toString('base64url') })
  await t.rejects(readPrivateKey(symmetric, undefined, 'file K'), { name: 'SecretRefError', message: 'file K is a shared secret, and private_key_jwt needs a private key' })
})
