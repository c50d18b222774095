import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { parse } from 'yaml'
import { loadConfigText } from '../../src/config/load.js'
import { ConfigSchema } from '../../src/config/schema.js'
import { reasonOfRefusal } from '../../src/reload.js'

/** As much of a JSON Schema as the page of all settings tells. */
interface Schema {
  readonly description?: string
  readonly default?: unknown
  readonly type?: string
  readonly const?: unknown
  readonly enum?: readonly unknown[]
  readonly $ref?: string
  readonly properties?: Record<string, Schema>
  readonly additionalProperties?: boolean | Schema
  readonly patternProperties?: Record<string, Schema>
  readonly items?: Schema
  readonly anyOf?: readonly Schema[]
}

const docs = fileURLToPath(new URL('../../docs/', import.meta.url))

/** Each setting on a line of its own, by its path; `<name>` stands for names that the config chooses, `[]` for the items of a list. */
function settings (schema: Schema, path: string): Array<readonly [path: string, schema: Schema]> {
  const named = Object.values(schema.patternProperties ?? {})[0] ?? (typeof schema.additionalProperties === 'object' ? schema.additionalProperties : undefined)
  const below = [
    ...Object.entries(schema.properties ?? {}).map(([key, value]) => [path === '' ? key : `${path}.${key}`, value] as const),
    ...(named === undefined ? [] : [[`${path}.<name>`, named] as const]),
    ...(schema.items === undefined ? [] : [[`${path}[]`, schema.items] as const]),
  ]
  return below.flatMap(([at, value]) => [[at, value] as const, ...settings(value, at)])
}

function row ([path, { description = '', default: fallback, $ref }]: readonly [string, Schema]): string {
  const shown = fallback === undefined ? '' : `\`${JSON.stringify(fallback).replaceAll('|', '\\|')}\``
  const text = $ref === '#/definitions/credential' ? 'A credential: see [credential types](credentials.md).' : description
  return `| \`${path}\` | ${shown} | ${text.replaceAll('|', '\\|').replaceAll('\n', ' ')} |\n`
}

const rows = settings(ConfigSchema as unknown as Schema, '').filter(([path, { description, $ref }]) => path !== '$schema' && (description !== undefined || $ref !== undefined))
const page = `# Every setting

Made from the schema that configs are checked against. \`<name>\` is a name of your own, \`[]\` an item of a list. A secret is
\`{ env: NAME }\`, \`{ file: PATH }\` or \`{ command: [argv, …] }\`. How it works together: [configure.md](configure.md).

| setting | default | |
| --- | --- | --- |
${rows.map(row).join('')}`

t.test('docs/config-reference.md is current', async (t) => {
  if (process.env.UPDATE_DOCS === '1') writeFileSync(docs + 'config-reference.md', page)
  t.equal(existsSync(docs + 'config-reference.md') ? readFileSync(docs + 'config-reference.md', 'utf8') : '', page, 'write it anew with UPDATE_DOCS=1 npx tap test/unit/docs-configure.test.ts')
  for (const path of ['listen', 'admin.token', 'drain.calls', 'upstreams.<name>.url', 'upstreams.<name>.timeouts.connect', 'principals.<name>.credentials', 'sessions[].key']) t.match(page, `| \`${path}\``)
})

t.test('the configs of docs/configure.md are what it says', async (t) => {
  const blocks = [...readFileSync(docs + 'configure.md', 'utf8').matchAll(/^```yaml\n(.*?)^```$/gms)].map((match) => match[1] as string)
  t.equal(blocks.length, 3)
  const [whole = '', secrets = '', drain = ''] = blocks
  const warnings: unknown[] = []
  const config = loadConfigText(whole, { env: {}, warn: (warning) => warnings.push(warning) })
  t.same(warnings, [])
  t.match(config.principals.get('alice')?.credentials.get('tools'), { type: 'refresh_token', clientId: 'agents' })
  t.same(Object.values(parse(secrets) as object).map((secret: object) => Object.keys(secret)[0]), ['env', 'file', 'command'])
  t.same(loadConfigText(`${drain}${whole}`, { env: {} }).drain, loadConfigText(whole, { env: {} }).drain, 'the defaults')
})

t.test('the line of a refused reload in docs/configure.md is what such a mistake gives', async (t) => {
  const shown = JSON.parse(/^\{"level":"error","event":"reload_refused".*$/m.exec(readFileSync(docs + 'configure.md', 'utf8'))?.[0] as string) as { reason: string }
  const error = await Promise.resolve().then(() => loadConfigText('upstreams:\n  tools:\n    url: http://localhost:8001/mcp\n    replay: 1\n', { env: {} })).catch((error: unknown) => error)
  t.equal(reasonOfRefusal(error), shown.reason)
})
