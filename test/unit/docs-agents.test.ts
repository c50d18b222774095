import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { parse } from 'yaml'
import { pasteable } from '../../src/demo/paste.js'
import { createPalette } from '../../src/demo/report.js'
import { ERRORS, type ErrorCode } from '../../src/errors.js'
import { CLIENTS } from '../agents/clients.js'
import { versionOf } from '../agents/versions.js'

const read = (path: string): string => readFileSync(fileURLToPath(new URL(`../../${path}`, import.meta.url)), 'utf8')
const page = read('docs/agents.md')
const blocks = [...page.matchAll(/^```(\w+)\n(.*?)^```$/gms)].map(([, kind, text]) => ({ kind: kind as string, text: text as string }))
const EXAMPLE = /^(?:#|\/\/) (examples\/agents\/\S+)\n/

t.test('what the page says is of an example stands in it, and every example is run and on the page', async (t) => {
  const shown = blocks.flatMap(({ text }) => {
    const file = EXAMPLE.exec(text)?.[1]
    return file === undefined ? [] : [{ file, text: text.replace(EXAMPLE, '') }]
  })
  for (const { file, text } of shown) t.ok(read(file).includes(text), `${file} has what the page shows`)
  const files = readdirSync(fileURLToPath(new URL('../../examples/agents', import.meta.url))).sort()
  t.same(CLIENTS.map(({ file }) => file).sort(), files)
  t.same(shown.map(({ file }) => file.replace('examples/agents/', '')).sort(), files)
  t.same(blocks.filter(({ kind, text }) => ['js', 'python'].includes(kind) && !EXAMPLE.test(text)), [])
})

t.test('each config on the page parses, and has the URL and the header', async (t) => {
  const parsers: Record<string, (text: string) => unknown> = { json: (text) => JSON.parse(text), yaml: (text) => parse(text), toml: parseToml }
  const configs = blocks.filter(({ kind }) => kind in parsers)
  t.equal(configs.length, 9)
  for (const { kind, text } of configs) {
    const config = JSON.stringify(parsers[kind]?.(text))
    t.match(config, '"http://127.0.0.1:8401/tools/mcp"')
    t.match(config, /X-Session-Key/)
  }
})

/** As much of TOML as the page needs: tables, and keys with strings. */
function parseToml (text: string): Record<string, Record<string, string>> {
  const tables: Record<string, Record<string, string>> = {}
  let table: Record<string, string> = {}
  for (const line of text.split('\n').filter((line) => line !== '')) {
    const name = /^\[([\w.-]+)\]$/.exec(line)?.[1]
    if (name !== undefined) {
      table = tables[name] = {}
      continue
    }
    const [, key, value] = /^([\w-]+) = (".*")$/.exec(line) ?? []
    if (key === undefined) throw new SyntaxError(line)
    table[key] = JSON.parse(value as string) as string
  }
  return tables
}

t.test('the codes on the page are the ones of the error table, with their statuses', async (t) => {
  const rows = [...page.matchAll(/^\| ([\d, ]+) \| (.*?) \|/gm)]
  t.equal(rows.length, 7)
  for (const [, statuses = '', codes = ''] of rows) {
    for (const [, code] of codes.matchAll(/`(ERR_\w+)`/g)) t.ok(statuses.split(', ').includes(String(ERRORS[code as ErrorCode]?.status)), `${code} has one of ${statuses}`)
  }
})

t.test('the matrix is of the clients and versions that are run', async (t) => {
  const matrix = read('docs/compatibility.md')
  for (const client of CLIENTS) {
    const name = `| ${client.name} (\`${client.package}\` ${versionOf(client)}) |`
    t.equal(matrix.split(name).length - 1, 2, `${name} is there for both servers: npm run interop -- --write`)
  }
})

// `streamablehttp_client(url, headers=…)` is gone from the Python SDK 2.x; both versions have what the examples use.
t.test('what the demo gives to paste into Python is what the Python examples do', async (t) => {
  const text = pasteable({ endpoint: 'URL', key: 'KEY', adminUrl: '' }, createPalette(false))
  const [, transport = '', http = ''] = /^(streamable_http_client\("URL", http_client=)(create_mcp_http_client\(.*\))\)$/m.exec(text) ?? []
  for (const file of ['python-sdk-v1.py', 'python-sdk-v2.py']) {
    const example = read(`examples/agents/${file}`)
    t.ok(transport !== '' && example.includes(transport.replace('"URL"', 'os.environ["MCP_VALET_URL"]')), file)
    t.ok(http !== '' && example.includes(http.replace('"KEY"', 'os.environ["MCP_VALET_KEY"]')), file)
  }
})
