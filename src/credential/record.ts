import { createHash } from 'node:crypto'
import { Secret } from '../secret.js'
import { Credential } from './credential.js'
import type { Held, Issued } from './grants/grant.js'
import { expiryOfFound } from './lifetime.js'

/** What is kept of a principal's tokens at one upstream; sealed before it leaves the process. Times in milliseconds. */
export interface CredentialRecord {
  /** Counts the writes of its seed: the higher one is the newer one, whoever wrote it. */
  readonly revision: number
  /** Counts the access tokens. */
  readonly generation: number
  readonly access_token?: string
  readonly refresh_token?: string
  readonly obtained_at: number
  readonly expires_at?: number
  /** Digest of the config's own first token: each is a login of its own, and has a record of its own. */
  readonly seed: string
  /** What the access token is good for, as the config then said (`Grant.terms`). */
  readonly terms: string
  /** The issuer said that this grant is over. */
  readonly revoked?: true
  /**
   * Since when the refresh token is being spent. It is there from before the request until its answer is saved, so where
   * it is found by somebody who has the lease, whoever wrote it was cut off in between.
   */
  readonly spending_since?: number
}

/** What a key may take in LMDB is 1978 bytes; a principal's name of 256 characters may take more once it is encoded. */
const LONGEST_NAME = 1_024

export type RecordKind =
  /** the tokens of a credential of the config */
  | 'credential'
  /** the tokens of a credential that was put at run time */
  | 'put-credential'
  /** what was put for a principal */
  | 'principal'

/** The name a record is kept, sealed and leased under. Parts are encoded, so no two can meet in one name. */
export function recordName (kind: RecordKind, ...parts: readonly string[]): string {
  const name = `${kind}/${parts.map(encodeURIComponent).join('/')}`
  return name.length <= LONGEST_NAME ? name : `${kind}/sha256:${createHash('sha256').update(name).digest('base64url')}`
}

/** What the vault keeps of one credential: the record that was written last, and before it those of other logins. */
export interface KeptRecord extends CredentialRecord { readonly others?: readonly CredentialRecord[] }

/** Logins before the last one that are kept: one of them may be another sidecar's still, or come back with its config. */
const MOST_OTHERS = 3

/** Of the refresh token, where there is one: an access token beside it only spares the first renewal. */
export function seedDigest ({ refreshToken, accessToken }: Held): string {
  return digestOf(refreshToken, refreshToken === undefined ? accessToken : undefined)
}

/** By which of its digests the record of a seed may be kept: both tokens counted once. */
export function seedDigests (seed: Held): readonly [string, ...string[]] {
  return [seedDigest(seed), digestOf(seed.refreshToken, seed.accessToken)]
}

function digestOf (...secrets: ReadonlyArray<Secret | undefined>): string {
  const hash = createHash('sha256')
  for (const secret of secrets) hash.update(secret?.reveal() ?? '').update('\0')
  return hash.digest('base64url')
}

/** The digest where the config gives no token to begin with. */
export const NO_SEED = seedDigest({ accessToken: undefined, refreshToken: undefined })

/** The record of a seed; without digests that which was written last. */
export function recordOf (kept: KeptRecord | undefined, digests?: readonly [string, ...string[]]): CredentialRecord | undefined {
  if (kept === undefined) return undefined
  const { others = [], ...last } = kept
  const found = digests === undefined ? last : [last, ...others].find(({ seed }) => digests.includes(seed))
  return found === undefined || digests === undefined ? found : { ...found, seed: digests[0] }
}

/** What is to be kept once a record is written: a login that takes another's place does not end it. */
export function keptWith (record: CredentialRecord, kept: KeptRecord | undefined): KeptRecord {
  if (kept === undefined) return record
  const { others = [], ...last } = kept
  const rest = [last, ...others].filter(({ seed }) => seed !== record.seed).slice(0, MOST_OTHERS)
  return rest.length === 0 ? record : { ...record, others: rest }
}

/** The first record of a seed, the same in every process: what is saved of it later is newer. */
export function firstRecord (seed: Held, digest: string, terms: string, now: number): CredentialRecord {
  const token = seed.accessToken?.reveal()
  const expiresAt = token === undefined ? undefined : expiryOfFound(token) ?? seed.expiresAt
  return {
    revision: 1,
    generation: 1,
    obtained_at: now,
    seed: digest,
    terms,
    ...(token === undefined ? {} : { access_token: token }),
    ...(seed.refreshToken === undefined ? {} : { refresh_token: seed.refreshToken.reveal() }),
    ...(expiresAt === undefined ? {} : { expires_at: expiresAt }),
  }
}

/** The record after an exchange that gave another access token. */
export function nextRecord (before: CredentialRecord, issued: Issued): CredentialRecord {
  const refresh = issued.refreshToken?.reveal() ?? before.refresh_token
  return {
    revision: before.revision + 1,
    generation: before.generation + 1,
    access_token: issued.accessToken.reveal(),
    obtained_at: issued.obtainedAt,
    seed: before.seed,
    terms: before.terms,
    ...(refresh === undefined ? {} : { refresh_token: refresh }),
    ...(issued.expiresAt === undefined ? {} : { expires_at: issued.expiresAt }),
  }
}

/** The same access token with something changed about it. It is no new generation: who was refused with it would be again. */
export function amended (before: CredentialRecord, changes: Partial<CredentialRecord>): CredentialRecord {
  return { ...before, ...changes, revision: before.revision + 1 }
}

/** The record without the note that its refresh token is being spent. */
export function settled ({ spending_since: _, ...record }: CredentialRecord): CredentialRecord {
  return record
}

/**
 * A kept record under the config's present terms. A token for another scope, resource or client is not sent any more,
 * and what an issuer said to another client says nothing about this one; the refresh token is tried.
 */
export function underTerms (record: CredentialRecord, terms: string): CredentialRecord {
  if (record.terms === terms) return record
  const { access_token: _token, expires_at: _expiry, revoked: _revoked, ...kept } = record
  return { ...kept, terms }
}

/**
 * Whether an issuer that gave the same token again has prolonged its life, as some do with opaque ones. A JWT says itself
 * when it ends, and an issuer that hands out a cached token counts its lifetime down.
 */
export function prolonged (record: CredentialRecord, { expiresAt, obtainedAt }: Issued): boolean {
  if (record.access_token === undefined || record.expires_at === undefined || expiresAt === undefined) return false
  return expiryOfFound(record.access_token) === undefined && expiresAt - record.expires_at > (expiresAt - obtainedAt) / 2
}

/** @param base what the generations of this record come on top of, where another grant was in its place before */
export function credentialOf (record: CredentialRecord, base: number): Credential | undefined {
  if (record.access_token === undefined) return undefined
  return new Credential(new Secret(record.access_token), base + record.generation, record.obtained_at, record.expires_at)
}

export function heldOf (record: CredentialRecord): Held {
  return {
    accessToken: record.access_token === undefined ? undefined : new Secret(record.access_token),
    refreshToken: record.refresh_token === undefined ? undefined : new Secret(record.refresh_token),
  }
}
