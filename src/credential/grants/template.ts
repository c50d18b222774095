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
