import { AdminFailure } from './admin-failure.js'
import type { AdminClient } from './admin-client.js'
import { isCredential, UPSTREAMS, type Said } from './expected.js'
import { printable } from './printable.js'

export interface AgentUrls { readonly header: string, readonly urls: readonly string[] }

const LONGEST_URL = 512

/**
 * Where an agent of this principal calls, one line an upstream that it has a credential for. Knows nothing where the
 * sidecar does not say: that is no reason to keep back what else there is to show.
 */
export async function agentUrls (client: AdminClient, principal: string): Promise<AgentUrls> {
  try {
    const [{ proxy, header, upstreams }, credentials] = await Promise.all([
      client.ask('GET', '/upstreams', UPSTREAMS), client.list(`/credentials?principal=${encodeURIComponent(principal)}`, 'credentials', isCredential),
    ])
    const own = new Set(credentials.map(({ upstream }) => upstream))
    const reached = (upstreams as Said[]).filter(({ name }) => own.has(name))
    return { header: printable(header), urls: reached.map(({ path }) => agentUrl(proxy, path, client.host)) }
  } catch (error) {
    if (error instanceof AdminFailure) return { header: '', urls: [] }
    throw error
  }
}

/** @param host by which the sidecar was reached, for one that listens on every address */
export function agentUrl (proxy: unknown, path: unknown, host: string): string {
  const base = String(proxy).replace(/^(https?:\/\/)(?:0\.0\.0\.0|\[::\])(?=:|$)/, `$1${host}`)
  if (base.startsWith('unix:')) return `http://localhost${printable(path, LONGEST_URL)}  (socket ${printable(base.slice('unix:'.length), LONGEST_URL)})`
  return printable(`${base}${String(path)}`, LONGEST_URL)
}
