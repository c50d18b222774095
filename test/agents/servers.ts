import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { createIssuer, type Issuer } from '../../src/demo/issuer.js'
import { createDemoMcpServer } from '../../src/demo/mcp-server.js'
import type { Closers } from './closers.js'
import { Program } from './program.js'

/** Seconds that a token lives. The sidecar refreshes it in its last second; a stream lives on after it. */
export const LIFETIME = 4

/** An MCP server that checks JWTs itself, and the issuer of those. */
export interface McpServer {
  readonly id: 'fastmcp' | 'typescript'
  readonly name: string
  readonly version: string
  readonly url: string
  readonly issuer: Issuer
  /** Refuses a token from now on although it is still good. */
  reject (fingerprint: string): Promise<void>
}

/** @param python the interpreter that has FastMCP @param version of FastMCP */
export async function startServers (closers: Closers, python: string, version: string): Promise<McpServer[]> {
  return [await startFastMcp(closers, python, version), await startTypeScript(closers)]
}

/** @param lifetime seconds that a token lives */
export async function startFastMcp (closers: Closers, python: string, version: string, lifetime = LIFETIME): Promise<McpServer> {
  const issuer = await startIssuer(closers, () => url, lifetime)
  const program = new Program(python, [fileURLToPath(new URL('fastmcp_server.py', import.meta.url))], { ISSUER: issuer.url })
  closers.teardown(async () => await program.stop())
  const url = await program.line((line) => line.startsWith('http://')).catch((error: Error) => { throw new Error(`${error.message}: ${program.stderr}`) })
  return {
    id: 'fastmcp',
    name: 'FastMCP server',
    version,
    url,
    issuer,
    reject: async (fingerprint) => { await fetch(new URL(`/reject/${fingerprint}`, url), { method: 'POST' }) },
  }
}

async function startTypeScript (closers: Closers): Promise<McpServer> {
  const issuer = await startIssuer(closers, () => mcp.audience)
  const mcp = await createDemoMcpServer({ issuer: issuer.url, jwks: issuer.jwksUri })
  closers.teardown(async () => await mcp.close())
  const { version } = JSON.parse(readFileSync(new URL('../../node_modules/@modelcontextprotocol/server/package.json', import.meta.url), 'utf8')) as { version: string }
  return {
    id: 'typescript',
    name: 'TypeScript SDK server',
    version,
    url: mcp.url,
    issuer,
    reject: async (fingerprint) => { mcp.rejectToken(fingerprint) },
  }
}

/** Rotates refresh tokens; one that is used twice ends its family. */
async function startIssuer (closers: Closers, audience: () => string, lifetime = LIFETIME): Promise<Issuer> {
  const issuer = await createIssuer({ audience, lifetime })
  closers.teardown(async () => await issuer.close())
  return issuer
}
