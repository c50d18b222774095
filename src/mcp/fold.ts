/** UTF-16 units: far more than any name that is looked for, so what follows could only be white space. */
const ENOUGH = 64
const PLAIN = /^[\x21-\x7e]*$/

/**
 * A name as a careless peer may read it: without case (Go and .NET match members of JSON so, `ſ` for `s` included), in
 * compatible forms, without what ends a C string or cannot be seen. Only the beginning of a long one.
 */
export function folded (name: string): string {
  const text = name.slice(0, ENOUGH)
  if (PLAIN.test(text)) return text.toLowerCase()
  return text.normalize('NFKC').replace(/[\s\p{C}]/gu, '').toUpperCase().toLowerCase()
}
