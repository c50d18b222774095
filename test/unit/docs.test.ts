import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { ERRORS } from '../../src/errors.js'
import { CHECKLIST } from '../helpers/checklist.js'

/**
 * Pages that say what the code says are made from it. `UPDATE_DOCS=1 npx tap test/unit/docs.test.ts` writes them anew.
 */
const root = fileURLToPath(new URL('../../', import.meta.url))

function page (name: string, body: string): void {
  t.test(`docs/${name} is current`, async (t) => {
    const path = join(root, 'docs', name)
    if (process.env.UPDATE_DOCS === '1') writeFileSync(path, body)
    const there = existsSync(path) ? readFileSync(path, 'utf8') : ''
    t.equal(there, body, 'write it anew with UPDATE_DOCS=1 npx tap test/unit/docs.test.ts')
  })
}

function table (head: readonly string[], rows: ReadonlyArray<readonly string[]>): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |\n`
  return line(head) + line(head.map(() => '---')) + rows.map(line).join('')
}

const errorRows = Object.entries(ERRORS).map(([code, { status, rpc, message }]) => [`\`${code}\``, String(status), String(rpc), message])
page('errors.md', `# Error codes

What mcp-valet answers by itself is a JSON-RPC error that echoes the request's \`id\`:

\`\`\`json
{"jsonrpc":"2.0","id":7,"error":{"code":-32001,"message":"…","data":{"code":"ERR_SESSION_UNKNOWN","request_id":"…"}}}
\`\`\`

Branch on \`data.code\`: a code that has been released keeps its meaning. The log tells the reason under the same \`request_id\`.
A 401 carries \`WWW-Authenticate: Bearer realm="mcp-valet", error="invalid_token"\` and never \`resource_metadata\`; a 503 carries
\`Retry-After\`. Any other answer is the MCP server's own.

${table(['`data.code`', 'HTTP', 'JSON-RPC', 'what it says'], errorRows)}`)

/** Which files have a test whose name begins with `row N:`, or names several rows. */
function filesOf (row: number): string[] {
  const found: string[] = []
  for (const folder of ['unit', 'integration', 'security', 'interop']) {
    for (const name of readdirSync(join(root, 'test', folder), { recursive: true, encoding: 'utf8' }).sort()) {
      if (!name.endsWith('.test.ts')) continue
      const names = readFileSync(join(root, 'test', folder, name), 'utf8').matchAll(/['"`]rows? ([\d, and]+?)[:)]/g)
      const rows = [...names].flatMap((match) => [...(match[1] as string).matchAll(/\d+/g)].map(Number))
      if (rows.includes(row)) found.push(`${folder}/${name.replaceAll('\\', '/')}`)
    }
  }
  return found
}

const rows = Object.entries(CHECKLIST).map(([row, what]) => {
  const files = filesOf(Number(row))
  return [row, what, files.length === 0 ? 'not yet' : files.map((file) => `[${file}](../test/${file})`).join('<br>')]
})
page('checklist.md', `# What it survives

Each row is shown by tests over real sockets whose names begin with \`row N:\`; a row without one is not promised yet.

${table(['row', 'what happens', 'shown by'], rows)}`)
