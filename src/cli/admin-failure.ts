/**
 * Why a verb that speaks to a running sidecar ends without success. The message is for a person and says what to do;
 * whatever of it came from outside has been made printable.
 */
export class AdminFailure extends Error {
  /** 1: it refused, or cannot be asked as things stand here. 3: it cannot be reached. */
  readonly exitCode: 1 | 3
  /** The API's own code, where it answered with one. */
  readonly code: string | undefined

  constructor (exitCode: 1 | 3, message: string, code?: string) {
    super(message)
    this.name = 'AdminFailure'
    this.exitCode = exitCode
    this.code = code
  }
}
