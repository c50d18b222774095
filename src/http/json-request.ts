const JSON_TYPE = /^application\/(?:[\w.+-]+\+)?json\s*(?:;\s*(?:charset\s*=\s*"?utf-?8"?\s*)?)?$/i

const ABOUT = /^content[-_](encoding|type)$/i

/**
 * Whether a request's headers leave but one way of reading its body: JSON in UTF-8, in no coding. Servers that undo a coding,
 * or go by a character set, would else read another body than the one that was judged.
 * @param rawHeaders names and values in turn; `_` is read as `-`, as some servers do
 */
export function isPlainJson (rawHeaders: readonly string[]): boolean {
  let types = 0
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const about = ABOUT.exec(rawHeaders[i] as string)?.[1]?.toLowerCase()
    if (about === undefined) continue
    const value = (rawHeaders[i + 1] as string).trim()
    if (about === 'encoding' && !/^(?:identity)?$/i.test(value)) return false
    if (about === 'type' && (++types > 1 || !JSON_TYPE.test(value))) return false
  }
  return true
}

/** Whether a URL's query might be read as a call: MCP has none such, but JSON-RPC over GET had. */
export function namesCall (url: string): boolean {
  const query = url.indexOf('?')
  if (query < 0) return false
  for (const [name, value] of new URLSearchParams(url.slice(query))) {
    if (/^(?:jsonrpc|method)$/i.test(name) || /tools\/call/i.test(name + value)) return true
  }
  return false
}

/** Whether an answer must be an event stream: MCP clients accept JSON as well. */
export function acceptsOnlyEvents (accept = '*/*'): boolean {
  const types = accept.toLowerCase().split(',').map((type) => type.trim()).filter((type) => !/;\s*q=0(?:\.0*)?$/.test(type))
  const accepts = (...names: string[]): boolean => types.some((type) => names.includes(type.split(';')[0]?.trim() as string))
  return accepts('text/event-stream') && !accepts('application/json', 'application/*', '*/*')
}
