import type { CredentialConfig } from '../config/config.js'
import type { CompleteCredential } from '../config/given-credential.js'
import { completed } from './completed.js'
import type { Entry } from './entry.js'
import { putFor } from './register.js'

/** What a credential is made of: its config, and that as a text by which two are the same or differ. */
export interface Made { readonly config: CredentialConfig, readonly text: string, readonly put: boolean }

/**
 * What was put for a principal goes before what the config says of it.
 * @param unfit is told why what was put makes no credential any more
 */
export function madeOf ({ config, put }: Entry, upstream: string, complete: CompleteCredential, unfit: (reason: string) => void): Made | undefined {
  const given = putFor(put, upstream)
  const made = given === undefined ? config?.credentials.get(upstream) : completed(complete, upstream, given, unfit)
  return made === undefined ? undefined : { config: made, text: textOf(made), put: given !== undefined }
}

function textOf (config: CredentialConfig): string {
  return JSON.stringify(config, (_key, value: unknown) => value instanceof Map ? [...value as Map<unknown, unknown>] : value)
}
