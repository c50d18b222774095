import { isMap } from './raw.js'
import { SECRET_EXPECTED } from './schema-parts.js'

const KINDS = {
  env: (value: unknown) => `env takes the name of an environment variable: letters, digits and _${typeof value === 'string' && value.startsWith('$') ? ', without the $' : ''}`,
  file: () => 'file takes a path',
  command: (value: unknown) => Array.isArray(value) && value.length === 0
    ? 'command is empty: it takes a list of the program and its arguments'
    : 'command takes a list of the program and its arguments, such as [pass, show, mcp/alice]',
} as const
type Kind = keyof typeof KINDS

/** What is wrong with what stands where a reference to a secret belongs; nothing of it is shown, as any of it may be the secret. */
export function secretComplaint (written: unknown): string {
  if (!isMap(written)) return SECRET_EXPECTED
  const kinds = (Object.keys(KINDS) as Kind[]).filter((kind) => Object.hasOwn(written, kind))
  const [kind] = kinds
  if (kind === undefined) return SECRET_EXPECTED
  if (kinds.length > 1) return `names ${kinds.join(' and ')}: a secret has one place`
  if (Object.keys(written).length > 1) return `takes ${kind} alone: leave the other keys out`
  return written[kind] === null ? `${kind} is empty: ${KINDS[kind]('')}` : KINDS[kind](written[kind])
}
