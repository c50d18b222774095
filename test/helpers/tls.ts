import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { generate } from 'selfsigned'
import type { Test } from 'tap'
import { answerJson, type Seen } from './upstream.js'

/** A certificate and its key, as PEM. */
export interface Pair { readonly cert: string, readonly key: string }

const EC = { keyType: 'ec', curve: 'P-256', algorithm: 'sha256' } as const

/** A certificate authority of its own, made now. */
export async function makeCa (): Promise<Pair> {
  const made = await generate([{ name: 'commonName', value: 'mcp-valet test CA' }], {
    ...EC,
    extensions: [{ name: 'basicConstraints', cA: true, critical: true }, { name: 'keyUsage', keyCertSign: true, cRLSign: true, digitalSignature: true, critical: true }],
  })
  return { cert: made.cert, key: made.private }
}

/** A certificate for these DNS names, from this authority; without one it is self-signed. */
export async function makeCertificate (names: readonly string[], ca?: Pair): Promise<Pair> {
  const made = await generate([{ name: 'commonName', value: names[0] as string }], {
    ...EC,
    ...(ca === undefined ? {} : { ca: { cert: ca.cert, key: ca.key } }),
    extensions: [
      { name: 'basicConstraints', cA: false },
      { name: 'extKeyUsage', serverAuth: true, clientAuth: true },
      { name: 'subjectAltName', altNames: names.map((value) => ({ type: 2 as const, value })) },
    ],
  })
  return { cert: made.cert, key: made.private }
}

/** What reached a TLS server: the requests, and the common name of the client certificate of each. */
export interface TlsUpstream {
  readonly port: number
  readonly seen: Array<Pick<Seen, 'headers'> & { client: string | undefined }>
}

/** An MCP-like server behind TLS. @param clientCa where it wants a client certificate, and from whom */
export async function startTlsUpstream (t: Test, own: Pair, clientCa?: string): Promise<TlsUpstream> {
  const seen: TlsUpstream['seen'] = []
  const wantsClient = clientCa === undefined ? {} : { requestCert: true, rejectUnauthorized: true, ca: clientCa }
  const server: Server = createServer({ ...own, ...wantsClient }, (request, response) => {
    const peer = (request.socket as import('node:tls').TLSSocket).getPeerCertificate()
    const client = peer?.subject?.CN
    seen.push({ headers: request.headers, client: Array.isArray(client) ? client[0] : client })
    request.resume()
    request.on('end', () => answerJson({ body: Buffer.from('{}') } as Seen, response))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  return { port: (server.address() as AddressInfo).port, seen }
}
