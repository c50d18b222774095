import type { KeyPairAlgorithm } from './config.js'

/** Callers that identify themselves by a JWT of this issuer (RFC 7519, RFC 9068). */
export interface JwtCallersConfig {
  /** As the config writes it, since the claim `iss` must be the same to the letter. */
  readonly issuer: string
  /** The claim `aud` must hold one of these. */
  readonly audience: readonly string[]
  /** Where its keys are; undefined: its metadata says it (RFC 8414). */
  readonly jwksUri: URL | undefined
  readonly principalClaim: string
  /** Undefined: `azp`, else `client_id`, else the word `jwt`. */
  readonly agentClaim: string | undefined
  /** Asymmetric ones only. */
  readonly algorithms: readonly KeyPairAlgorithm[]
  readonly clockToleranceMs: number
}
