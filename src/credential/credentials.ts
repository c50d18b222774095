import type { Clock } from '../clock.js'
import { ControlError, type CredentialInfo, type Credentials } from '../control.js'
import { refreshByHand } from './by-hand.js'
import { credentialInfo, type Entry } from './entry.js'
import type { Provider } from './provider.js'
import { aFewAtATime } from './warm-up.js'

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
 * Secrets have changed where they are kept: credentials that are such a secret are read again, and those that have failed
 * over one try again. Any other takes it up with its next renewal.
 * @param sources as `SecretRef.source`
 */
export async function sourcesChanged (entries: Iterable<Entry>, sources: readonly string[], clock: Clock): Promise<void> {
  const changed = sources.map((source) => JSON.stringify(source))
  const concerned = [...entries].flatMap(({ held }) => [...held.values()])
    .filter(({ made }) => changed.some((source) => made.includes(source)))
    .map(({ provider }) => provider)
    .filter((provider) => {
      const { type, state } = provider.status()
      return type === 'api_token' || state === 'failed' || state === 'revoked'
    })
  await aFewAtATime(concerned, async (provider) => await refreshByHand(provider, clock).catch(() => {}), clock)
}
