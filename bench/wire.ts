/**
 * The bytes that the load generator and the upstream agree on.
 *
 * Every call carries its own 8-digit JSON-RPC id, and the answer must come back with that id and otherwise byte for byte
 * as it was written here. So a proxy that mixes two callers up, cuts an answer or makes one up is found by the benchmark.
 */

/** How the upstream answers: one JSON document with its length, or an event stream with one event and no length. */
export type AnswerKind = 'json' | 'sse'

/** Paths are the same at the upstream and at every proxy, so no row pays for a rewrite. */
export const PATHS = { json: '/json/mcp', sse: '/sse/mcp', storm: '/storm/mcp', token: '/token' } as const

export const ID_DIGITS = 8
const BLANK_ID = '1'.padEnd(ID_DIGITS, '0')

/** A `tools/call` as an agent would send it (about 300 bytes), and where in it the id stands. */
export const call = withId(`{"jsonrpc":"2.0","id":${BLANK_ID},"method":"tools/call","params":` + JSON.stringify({
  name: 'search_documents',
  arguments: {
    query: 'quarterly revenue by region, compared with the plan',
    limit: 10,
    filters: { language: 'en', after: '2025-01-01', source: ['wiki', 'tickets'] },
  },
  _meta: { progressToken: 7 },
}) + '}')

/** An `initialize`, so that the calls that follow carry a session id which the upstream has really given out. */
export const initialize = withId(`{"jsonrpc":"2.0","id":${BLANK_ID},"method":"initialize","params":` + JSON.stringify({
  protocolVersion: '2025-11-25',
  capabilities: {},
  clientInfo: { name: 'bench', version: '1.0.0' },
}) + '}')

/** The result of that call (about 1 KB), in the key order of the official SDK's server. */
const RESULT = `{"result":${JSON.stringify({
  content: [{
    type: 'text',
    text: Array.from({ length: 8 }, (_, n) =>
      `${n + 1}. Revenue report ${2018 + n}: region north, plan 10.4 M, actual 11.${n} M. See wiki/finance/${2018 + n}`).join('\n'),
  }],
  structuredContent: { total: 8, took_ms: 12, next: null },
  isError: false,
})},"jsonrpc":"2.0","id":${BLANK_ID}}`

/** The answer's body by kind. */
export const answers = {
  json: withId(RESULT),
  sse: withId(`event: message\ndata: ${RESULT}\n\n`),
}

export interface Message { bytes: Buffer, idAt: number }

function withId (text: string): Message {
  return { bytes: Buffer.from(text), idAt: text.indexOf(`"id":${BLANK_ID}`) + '"id":'.length }
}

/** Writes `id` (0 … 89,999,999) over the digits at `at`, as a number of exactly eight digits. */
export function putId (bytes: Buffer, at: number, id: number): void {
  bytes.write(String(10_000_000 + id % 90_000_000), at, ID_DIGITS, 'latin1')
}
