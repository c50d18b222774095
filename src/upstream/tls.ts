import type { buildConnector } from 'undici'
import type { SecretRef, TlsConfig } from '../config/config.js'
import type { TlsTexts } from '../config/tls-material.js'

/**
 * How connections to an upstream are made: verified, always. `tls.ca` replaces the certificates that the system trusts.
 * @throws {SecretRefError} where a file that is named cannot be used
 */
export async function connectOptions (tls: TlsConfig, connectMs: number): Promise<buildConnector.BuildOptions & TlsTexts> {
  const [ca, cert, key] = await Promise.all([pem(tls.ca), pem(tls.cert), pem(tls.key)])
  return {
    timeout: connectMs,
    rejectUnauthorized: true,
    allowH2: false,
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(tls.serverName === undefined ? {} : { servername: tls.serverName }),
  }
}

async function pem (ref: SecretRef | undefined): Promise<string | undefined> {
  return ref === undefined ? undefined : (await ref.read()).reveal()
}
