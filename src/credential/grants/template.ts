import { createHash } from 'node:crypto'
import { isSecretRef, type JsonTemplate, type SecretRef } from '../../config/config.js'
import { GrantError, readSecret, type Held } from './grant.js'

/** A template of the config with its secrets and tokens in their places. @throws {GrantError} where one is not to be had */
export async function fill (template: JsonTemplate, held: Held): Promise<unknown> {
  if (Array.isArray(template)) return await Promise.all(template.map(async (item: JsonTemplate) => await fill(item, held)))
  if (typeof template === 'string' || isSecretRef(template)) return await fillText(template, held)
  if (typeof template !== 'object' || template === null) return template
  const filled = await Promise.all(Object.entries(template).map(async ([key, value]) => [key, await fill(value, held)] as const))
  return Object.fromEntries(filled)
}

/** As `fill`, for what ends up in a text. */
export async function fillText (template: string | SecretRef, held: Held): Promise<string> {
  if (isSecretRef(template)) return (await readSecret(template)).reveal()
  return template.replace(/\{(refresh_token|access_token)\}/g, (_, name: string) => {
    const token = name === 'refresh_token' ? held.refreshToken : held.accessToken
    if (token === undefined) throw new GrantError('unavailable', `there is no ${name} yet to put into the refresh request`)
    return token.reveal()
  })
}

/**
 * A digest of what a token is asked for with, for `Grant.terms`; secrets count by their places. None where there is nothing
 * of that kind, nor where the next token is had by the access token itself: under other terms that is not kept, and
 * nothing could be asked for any more.
 */
export function digestOf (asked: unknown): readonly string[] {
  const text = asked === undefined ? '' : JSON.stringify(asked, (_key, value: unknown) => value instanceof Map ? [...value as Map<unknown, unknown>] : value)
  return text === '' || text.includes('{access_token}') ? [] : [createHash('sha256').update(text).digest('base64url')]
}
