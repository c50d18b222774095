/** Three parts of base64url, the last of which an unsigned one leaves empty (RFC 7515 §7.1). */
const JWT = /^[\w-]+\.[\w-]+\.[\w-]*$/
/** The scheme is matched without case (RFC 9110 §11.1). */
const BEARER_JWT = /^bearer +([\w-]+\.[\w-]+\.[\w-]*)\s*$/i

export function looksLikeJwt (text: string): boolean {
  return JWT.test(text)
}

/** The token of an `Authorization` header that bears one in the form of a JWT. */
export function bearerJwt (authorization: string | undefined): string | undefined {
  return authorization === undefined ? undefined : BEARER_JWT.exec(authorization)?.[1]
}

/** What a JWT says of its issuer, which nobody has checked yet: it may decide where a token belongs, and nothing else. */
export function unverifiedIssuer (token: string): unknown {
  return issuerIn(token.split('.')[1] ?? '')
}

/** Whether a text holds the claims of a JWT of this issuer, in whatever form it was put in there. */
export function mentionsIssuer (text: string, issuer: string): boolean {
  return text.split(/[^\w-]+/).some((run) => issuerIn(run) === issuer)
}

function issuerIn (segment: string): unknown {
  try {
    const claims: unknown = JSON.parse(Buffer.from(segment, 'base64url').toString('utf8'))
    return typeof claims === 'object' && claims !== null && Object.hasOwn(claims, 'iss') ? (claims as { iss: unknown }).iss : undefined
  } catch {
    return undefined
  }
}
