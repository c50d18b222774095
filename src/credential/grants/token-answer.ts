/**
 * A token endpoint's answer (RFC 6749 §5.1) without what the library would refuse the whole of it for, and with it the
 * refresh token that has just been rotated, although issuers do send it: empty members, no token_type, a lifetime that is
 * none, a scope that is a list. Nobody here uses an ID token, and checking one would fail where no issuer is named.
 */
export function tidied (body: Record<string, unknown>): Record<string, unknown> {
  const { id_token: _, ...rest } = body
  const { scope, expires_in: lifetime, ...kept } = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== null && value !== ''))
  const [granted, seconds] = [scopeIn(scope), secondsIn(lifetime)]
  return {
    token_type: 'Bearer',
    ...kept,
    ...(granted === undefined ? {} : { scope: granted }),
    ...(seconds === undefined ? {} : { expires_in: seconds }),
  }
}

function scopeIn (value: unknown): string | undefined {
  if (typeof value === 'string') return value
  return Array.isArray(value) && value.length > 0 && value.every((name) => typeof name === 'string') ? value.join(' ') : undefined
}

/** A lifetime of 0 is how some issuers say that they do not know. */
function secondsIn (value: unknown): number | undefined {
  const seconds = typeof value === 'number' || typeof value === 'string' ? Number(value) : NaN
  return Number.isFinite(seconds) && seconds > 0 ? seconds : undefined
}
