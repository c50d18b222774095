import { readFileSync } from 'node:fs'
import { Ajv } from 'ajv'
import t from 'tap'
import { parse } from 'yaml'
import { loadConfigText } from '../../../src/config/load.js'
import { configSchemaText } from '../../../src/config/schema.js'

t.test('config/valet.schema.json is current', async (t) => {
  t.ok(
    readFileSync('config/valet.schema.json', 'utf8') === configSchemaText(),
    'config/valet.schema.json is not current; regenerate it: npm run build && node dist/cli.js schema > config/valet.schema.json'
  )
  t.match(configSchemaText(), /[^\n]\n$/, 'one newline at its end')
  t.notMatch(configSchemaText(), '"reads"')
})

t.test('the examples are valid, by the loader and by the schema alone', async (t) => {
  const validate = new Ajv({ strict: false }).compile(JSON.parse(configSchemaText()) as object)
  for (const file of ['config/valet.yaml', 'config/minimal.yaml']) {
    const text = readFileSync(file, 'utf8')
    t.ok(text.startsWith('# yaml-language-server: $schema=./valet.schema.json\n'), file)
    const warnings: unknown[] = []
    t.ok(loadConfigText(text, { env: {}, warn: (warning) => warnings.push(warning) }), file)
    t.strictSame(warnings, [])
    t.ok(validate(parse(text)), `${file}: ${JSON.stringify(validate.errors)}`)
  }
  t.notOk(validate({ upstreams: { tools: { url: 'http://h', urll: 1 } } }))
  t.notOk(validate({ upstreams: { tools: { url: 'http://h', deadline: 5 } } }))
})

t.test('every key has a description, and no map has keys that nobody knows', async (t) => {
  const missing: string[] = []
  walk(JSON.parse(configSchemaText()), '')
  t.strictSame(missing, [])

  function walk (node: unknown, path: string): void {
    if (typeof node !== 'object' || node === null) return
    const { properties, additionalProperties, allOf } = node as Record<string, unknown>
    if (properties !== undefined && !/\/(if|definitions\/credential)$/.test(path)) {
      if (additionalProperties !== false) missing.push(`${path}: additionalProperties`)
      for (const [key, value] of Object.entries(properties as object)) {
        if (!('description' in (value as object)) && !(key === 'type' && path.includes('/allOf/'))) missing.push(`${path}/${key}: description`)
      }
    }
    if (path.endsWith('/definitions/credential')) t.ok(Array.isArray(allOf))
    for (const [key, value] of Object.entries(node)) walk(value, `${path}/${key}`)
  }
})
