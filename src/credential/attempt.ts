import type { Credential } from './credential.js'
import { GrantError } from './grants/grant.js'
import type { CredentialRecord } from './record.js'

/** What was held before a renewal. */
export interface Before { readonly record: CredentialRecord | undefined, readonly credential: Credential | undefined }

/** What an attempt has done by now, for the case that its lease is lost. */
export interface Attempt {
  /** The record whose refresh token was spent. */
  spent: CredentialRecord | undefined
  /** What it got, saved or not. */
  won: CredentialRecord | undefined
}

/** What an issuer's refusal means where somebody had been cut off before. */
export function cutOff ({ reason }: GrantError): GrantError {
  return new GrantError('revoked', `${reason}; an earlier renewal had been cut off before its answer could be saved, so the refresh token is lost`)
}
