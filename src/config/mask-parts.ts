import type { SecretRef } from './config.js'

/** `env NAME` → `{ env: 'NAME' }`. */
export function place (ref: SecretRef): Record<string, unknown> {
  const at = ref.source.indexOf(' ')
  const [kind, name] = [ref.source.slice(0, at), ref.source.slice(at + 1)]
  return { [kind]: kind === 'command' ? [name, '…'] : name }
}

/** As `place`, under a key; nothing where there is no reference. */
export function some (key: string, ref: SecretRef | undefined) {
  return ref === undefined ? {} : { [key]: place(ref) }
}

/** A URL of whose query only is shown that there is one. */
export function address (url: URL): string {
  return url.search === '' ? url.href : `${url.href.slice(0, -url.search.length)}?…`
}

/** `Object.fromEntries` defines keys instead of assigning them, so `__proto__` is one like any other. */
export function mapped<T, R> (map: ReadonlyMap<string, T>, show: (value: T) => R): Record<string, R> {
  return Object.fromEntries([...map].map(([key, value]) => [key, show(value)]))
}
