const PLAIN = /^[\x21-\x7e]*$/

/**
 * A key as a careless peer may read it: without case (Go and .NET match members of JSON so, `ſ` for `s` included), in
 * compatible forms, without what ends a C string or cannot be seen.
 */
export function folded (key: string): string {
  if (PLAIN.test(key)) return key.toLowerCase()
  return key.normalize('NFKC').replace(/[\s\p{C}]/gu, '').toUpperCase().toLowerCase()
}
