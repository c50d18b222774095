import type { Clock } from '../clock.js'
import { ControlError, type CredentialInfo, type Credentials } from '../control.js'
import { refreshByHand } from './by-hand.js'
import { credentialInfo, type Entry } from './entry.js'
import type { Provider } from './provider.js'

/** Where credentials are looked up. */
export interface Holders {
  /** Every principal, with its credentials made. */
  readonly all: () => Iterable<Entry>
  readonly get: (principal: string) => Entry | undefined
  readonly find: (principal: string, upstream: string) => Provider | undefined
  readonly clock: Clock
}

/** What an owner may ask of credentials. */
export function credentialsOf ({ all, get, find, clock }: Holders): Credentials {
  const known = (principal: string, upstream: string): { entry: Entry, provider: Provider } => {
    const entry = get(principal)
    if (entry === undefined) throw new ControlError('ERR_PRINCIPAL_UNKNOWN')
    const provider = find(principal, upstream)
    if (provider === undefined) throw new ControlError('ERR_NOT_FOUND', [{ path: '', message: 'this principal has no credential for this upstream' }])
    return { entry, provider }
  }
  return {
    list: () => [...all()].flatMap((entry) => [...entry.held.keys()].map((upstream) => credentialInfo(entry, upstream))),

    async refresh (principal, upstream): Promise<CredentialInfo> {
      await refreshByHand(known(principal, upstream).provider, clock)
      // It may have been deleted meanwhile.
      return credentialInfo(known(principal, upstream).entry, upstream)
    },
  }
}

/**
 * A secret has changed where it is kept: credentials that are that secret are read again, and those that have failed over
 * it try again. Any other takes it up with its next renewal.
 * @param source as `SecretRef.source`
 */
export async function sourceChanged (entries: Iterable<Entry>, source: string, clock: Clock): Promise<void> {
  const concerned = [...entries].flatMap(({ held }) => [...held.values()]).filter(({ made }) => made.includes(JSON.stringify(source)))
  await Promise.all(concerned.map(async ({ provider }) => {
    const { type, state } = provider.status()
    if (type === 'api_token' || state === 'failed' || state === 'revoked') await refreshByHand(provider, clock).catch(() => {})
  }))
}
