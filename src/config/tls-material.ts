import { createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto'
import { createSecureContext } from 'node:tls'
import type { TlsConfig } from './config.js'
import { SecretRefError } from './secret-error.js'

const CERTIFICATE = /-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----[\s\S]+?-----END (?:TRUSTED |X509 )?CERTIFICATE-----/g

/** What of `tls` was read: PEM. */
export interface TlsTexts { readonly ca?: string | undefined, readonly cert?: string | undefined, readonly key?: string | undefined }

/** What is wrong with certificates, in words that go behind the place where they are. */
export function certificateComplaint (text: string): string | undefined {
  const found = text.match(CERTIFICATE)
  if (found === null) return 'holds no certificate: expected PEM (-----BEGIN CERTIFICATE-----)'
  const broken = found.findIndex((pem) => certificateIn(pem) === undefined)
  if (broken < 0) return undefined
  return found.length === 1 ? 'holds a certificate that cannot be read: is it complete?' : `holds ${found.length} certificates, of which number ${broken + 1} cannot be read: is it complete?`
}

/** As `certificateComplaint`, for the key of a client certificate. */
export function tlsKeyComplaint (text: string): string | undefined {
  if (/-----BEGIN ENCRYPTED |^Proc-Type: 4,ENCRYPTED/m.test(text)) return 'is encrypted: store the key without a passphrase, for example with openssl pkey'
  if (!/-----BEGIN ([A-Z]+ )?PRIVATE KEY-----/.test(text)) return 'holds no private key: expected PEM (-----BEGIN PRIVATE KEY-----)'
  return keyIn(text) === undefined ? 'is a private key that cannot be read: is it complete?' : undefined
}

/** Whether both are well by themselves, and do not belong together. @param cert with the client's own certificate first */
export function belongTogether (cert: string, key: string): boolean {
  const own = certificateIn(cert.match(CERTIFICATE)?.[0] ?? '')
  const pair = keyIn(key)
  return own === undefined || pair === undefined || own.checkPrivateKey(pair)
}

/**
 * Looks whether connections can be made with what was read. Node takes a CA that is none without a word, and then trusts
 * nobody.
 * @throws {SecretRefError} that names the place
 */
export function checkTlsMaterial (tls: TlsConfig, { ca, cert, key }: TlsTexts): void {
  const complaints = [[tls.ca, ca, certificateComplaint], [tls.cert, cert, certificateComplaint], [tls.key, key, tlsKeyComplaint]] as const
  for (const [ref, text, complaint] of complaints) {
    const wrong = text === undefined ? undefined : complaint(text)
    if (wrong !== undefined) throw new SecretRefError(`${String(ref?.source)} ${wrong}`)
  }
  if (cert !== undefined && key !== undefined && !belongTogether(cert, key)) throw new SecretRefError(`${String(tls.key?.source)} ${notTogether(tls)}`)
  try {
    createSecureContext({ ca, cert, key })
  } catch {
    throw new SecretRefError(`${[tls.ca, tls.cert, tls.key].flatMap((ref) => ref?.source ?? []).join(', ')} cannot be used for TLS: OpenSSL refuses it`)
  }
}

export function notTogether ({ cert }: TlsConfig): string {
  return `is not the key of the certificate in ${String(cert?.source)}`
}

function certificateIn (pem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(pem)
  } catch {
    return undefined
  }
}

function keyIn (pem: string): KeyObject | undefined {
  try {
    return createPrivateKey(pem)
  } catch {
    return undefined
  }
}
