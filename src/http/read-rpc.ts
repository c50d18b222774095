import type { IncomingMessage } from 'node:http'
import { summarize } from '../mcp/message.js'
import { NO_RPC, type RpcSummary } from '../exchange.js'

/** Bytes: enough for any call by hand, and nothing that a stranger could burden anybody with. */
const LARGEST = 16 * 1024

/**
 * What the body of a refused call says, so that the refusal can echo its id. Only a small body whose length was given is
 * read; any other is left in the connection.
 */
export async function readRpc (request: IncomingMessage): Promise<RpcSummary> {
  const length = Number(request.headers['content-length'] ?? 0)
  if (!(length > 0 && length <= LARGEST)) return NO_RPC
  const chunks: Buffer[] = []
  try {
    for await (const chunk of request) chunks.push(chunk as Buffer)
  } catch {
    return NO_RPC
  }
  return summarize(Buffer.concat(chunks))
}
