import type { Body, Message } from './read-messages.js'

/** `_` is read as `-`, as some servers do. */
const MIRROR = /^mcp[-_](?:method|name)$/i
/** How `Mcp-Name` carries what a header cannot (MCP 2026-07-28, transports). */
const ENCODED = /^=\?base64\?([A-Za-z0-9+/]*={0,2})\?=$/

/**
 * Whether a header that mirrors the body says something else (`Mcp-Method`, `Mcp-Name` of a tool). A server refuses that,
 * unless it goes by the header, and then the body is not what must be judged.
 * @param rawHeaders names and values in turn
 */
export function contradicts (rawHeaders: readonly string[], body: Body | undefined): boolean {
  const only = body?.messages.length === 1 ? body.messages[0] : undefined
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (!MIRROR.test(rawHeaders[i] as string)) continue
    const name = (rawHeaders[i] as string).toLowerCase().replaceAll('_', '-')
    const value = (rawHeaders[i + 1] as string).trim()
    // Of no single message there is nothing that it could repeat.
    if (body?.batch !== false) return true
    if (name === 'mcp-method' ? value !== only?.method : isOtherTool(value, only)) return true
  }
  return false
}

function isOtherTool (value: string, message: Message | undefined): boolean {
  return message?.calls === true && decoded(value) !== message.tool
}

function decoded (value: string): string {
  const encoded = ENCODED.exec(value)?.[1]
  return encoded === undefined ? value : Buffer.from(encoded, 'base64').toString()
}
