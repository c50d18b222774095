import type { Config } from './config.js'
import { isSecretRef } from './secret-place.js'

const FILE = /^file (.+)$/s

/**
 * The files that a config has secrets in, certificates included; those of `state` are not among them, which is opened once.
 * @returns path → the `source` of the references to it
 */
export function secretFiles ({ admin, upstreams, principals, sessions }: Config): Map<string, string> {
  const files = new Map<string, string>()
  const look = (value: unknown): void => {
    if (isSecretRef(value)) {
      const path = FILE.exec(value.source)?.[1]
      if (path !== undefined) files.set(path, value.source)
    } else if (value instanceof Map || Array.isArray(value)) {
      for (const one of value.values() as Iterable<unknown>) look(one)
    } else if (typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype) {
      for (const one of Object.values(value)) look(one)
    }
  }
  for (const part of [admin, upstreams, principals, sessions]) look(part)
  return files
}
