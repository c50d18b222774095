/** Far more characters than any name that is looked for has. */
const ENOUGH = 64
const PLAIN = /^[\x21-\x7e]*$/
const UNSEEN = /[\s\p{C}]/gu
const SEEN = /[^\s\p{C}]/gu

/**
 * A name as a careless peer may read it: without case (Go and .NET match members of JSON so, `ſ` for `s` included), in
 * compatible forms, without what ends a C string or cannot be seen. Only the beginning of a long one.
 */
export function folded (name: string): string {
  const text = name.length > ENOUGH ? beginningOf(name) : name
  if (PLAIN.test(text)) return text.toLowerCase()
  return text.normalize('NFKC').replace(UNSEEN, '').toUpperCase().toLowerCase()
}

/** What can be seen of it counts: any number of blanks may stand before a name. */
function beginningOf (name: string): string {
  const text = name.slice(0, ENOUGH)
  if (PLAIN.test(text)) return text
  let seen = ''
  for (const [character] of name.matchAll(SEEN)) if ((seen += character).length >= ENOUGH) break
  return seen
}
