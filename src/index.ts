export { ReloadError } from './reload.js'
export { createSidecar, type Sidecar, type SidecarOptions } from './sidecar.js'
export { loadConfigFile, loadConfigText, ConfigError, type ConfigProblem } from './config/load.js'
export { GrantError } from './credential/grants/grant.js'
export type { CredentialAnswer, CredentialRequest, CredentialTypeHandler, CredentialTypes } from './credential/grants/custom.js'
export type { Config } from './config/config.js'
export {
  CONTROL_ERRORS, ControlError, type Control, type ControlErrorCode, type CredentialInfo, type Credentials, type GivenCredential, type GivenPrincipal,
  type PrincipalInfo, type PrincipalRegister, type SessionInfo, type Sessions,
} from './control.js'
export type { RefreshEvent, ValetEvent } from './telemetry/events.js'
export type { AttemptTrace, CallTrace, Tracing } from './telemetry/tracing.js'
export { ERRORS, ValetError, type ErrorCode } from './errors.js'
export { Secret } from './secret.js'
