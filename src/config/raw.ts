/**
 * Views on a config that may be wrong in every way, for checks that run although others have failed: what is not there
 * or has another type is simply absent, as the schema has reported it already.
 */
export type RawMap = Readonly<Record<string, unknown>>

export function isMap (value: unknown): value is RawMap {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function mapAt (value: unknown, key: string): RawMap {
  const found = at(value, key)
  return isMap(found) ? found : {}
}

export function listAt (value: unknown, key: string): readonly unknown[] {
  const found = at(value, key)
  return Array.isArray(found) ? found : []
}

export function textAt (value: unknown, key: string): string | undefined {
  const found = at(value, key)
  return typeof found === 'string' ? found : undefined
}

/** Own keys only, so that `constructor` and `__proto__` are names like any other. */
export function at (value: unknown, key: string): unknown {
  return isMap(value) && Object.hasOwn(value, key) ? value[key] : undefined
}

/** What the reader makes of a text; undefined where there is none or the reader refuses it. */
export function readable<T> (text: string | undefined, read: (text: string) => T): T | undefined {
  if (text === undefined) return undefined
  try {
    return read(text)
  } catch {
    return undefined
  }
}
