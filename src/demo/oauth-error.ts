/** An error answer of a token endpoint (RFC 6749 §5.2, RFC 8707 §2). The message is the `error_description`. */
export class OAuthError extends Error {
  readonly error: string
  readonly status: number
  readonly headers: Record<string, string>

  constructor (error: string, description: string, { status = 400, headers = {} }: { status?: number, headers?: Record<string, string> } = {}) {
    super(description)
    this.name = 'OAuthError'
    this.error = error
    this.status = status
    this.headers = headers
  }
}
