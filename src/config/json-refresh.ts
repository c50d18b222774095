import type { Finding, Path } from './problem.js'
import { at, isMap, mapAt, type RawMap, readable } from './raw.js'
import { SECRET_EXPECTED } from './schema-parts.js'
import { secretComplaint } from './secret-shape.js'
import type { SecretSource } from './secret-ref.js'
import { readEnvName, readFilePath, readHeaderText } from './values.js'

const PLACEHOLDER = /\{(refresh_token|access_token)\}/
const SECRET_HEADER = /auth|token|secret|key|cookie|password/i
const SECRET_FIELD = /secret|password|passwd|passphrase|api[_-]?key|assertion|(^|[_-])token$/i

/** Checks of a `json_refresh` credential that need more than one of its values; `raw` is one place where it is written. */
export function jsonRefreshFindings (raw: unknown, path: Path): Finding[] {
  if (!isMap(raw)) return []
  const body = at(raw, 'body')
  const headers = mapAt(raw, 'headers')
  const findings = [...repeatedHeaders(headers, [...path, 'headers']), ...headerFindings(headers, [...path, 'headers']), ...bodyFindings(body, [...path, 'body'], '')]
  if (at(raw, 'method') === 'GET' && body !== undefined) findings.push({ path: [...path, 'body'], message: 'a GET has no body: use another method' })
  return findings
}

/** A refresh token that the merged credential's templates need and that it does not have. An access token may come later. */
export function unfilledPlaceholders (merged: RawMap, path: Path): Finding[] {
  const templates = JSON.stringify([at(merged, 'headers'), at(merged, 'body')])
  return templates.includes('{refresh_token}') && at(merged, 'refresh_token') === undefined
    ? [{ path: [...path, 'refresh_token'], message: 'is required, as the request has {refresh_token} in it' }]
    : []
}

/** Whether a node of a body's template stands for a secret: a map with one key that a reference has. */
export function isSecretLeaf (value: unknown): value is SecretSource {
  return isMap(value) && Object.keys(value).length === 1 && ['env', 'file', 'command'].some((key) => Object.hasOwn(value, key))
}

/** Header names that differ in nothing but case, in linear time. */
export function repeatedHeaders (headers: RawMap, path: Path): Finding[] {
  const seen = new Set<string>()
  return Object.keys(headers).flatMap((name) => {
    if (seen.has(name.toLowerCase())) return [{ path: [...path, name], message: 'this header is there twice: upper and lower case are the same' }]
    seen.add(name.toLowerCase())
    return []
  })
}

function headerFindings (headers: RawMap, path: Path): Finding[] {
  return Object.entries(headers).flatMap(([name, value]) => {
    if (typeof value !== 'string') return []
    const at = [...path, name]
    if (SECRET_HEADER.test(name) && !PLACEHOLDER.test(value)) return [{ path: at, message: SECRET_EXPECTED }]
    if (readable(value, readHeaderText) === undefined) return [{ path: at, message: 'expected printable ASCII characters, without space around them' }]
    return strayPlaceholder(value, at)
  })
}

function bodyFindings (value: unknown, path: Path, field: string): Finding[] {
  if (typeof value === 'string') {
    if (SECRET_FIELD.test(field) && !PLACEHOLDER.test(value)) return [{ path, message: SECRET_EXPECTED }]
    return strayPlaceholder(value, path)
  }
  if (isSecretLeaf(value)) return isUsable(value) ? [] : [{ path, message: secretComplaint(value) }]
  if (Array.isArray(value)) return value.flatMap((item, index) => bodyFindings(item, [...path, index], field))
  return isMap(value) ? Object.entries(value).flatMap(([key, member]) => bodyFindings(member, [...path, key], key)) : []
}

function isUsable (leaf: SecretSource): boolean {
  const { env, file, command } = leaf as Record<string, unknown>
  if (typeof env === 'string') return readable(env, readEnvName) !== undefined
  if (typeof file === 'string') return readable(file, readFilePath) !== undefined
  return Array.isArray(command) && command.length > 0 && command.every((part) => typeof part === 'string' && readable(part, readFilePath) !== undefined)
}

/** A misspelt placeholder would be sent as it stands. */
function strayPlaceholder (text: string, path: Path): Finding[] {
  const names = [...text.matchAll(/\{([A-Za-z_]+)\}/g)]
  return names.every(([whole]) => PLACEHOLDER.test(whole)) ? [] : [{ path, message: 'only {refresh_token} and {access_token} are filled in' }]
}
