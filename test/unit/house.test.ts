import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const src = fileURLToPath(new URL('../../src/', import.meta.url))
const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts')).map((name) => name.replaceAll('\\', '/'))
const text = (file: string): string => readFileSync(join(src, file), 'utf8')

/** What every part may know; it knows nothing itself but its own kind. */
const GROUND = /^(?:secret|clock|errors|version|issuer-(?:answer|exchange)|room)\.ts$|^config\/(?:config|credential-config|secret-place|redis-url)\.ts$/
/** Values and records that stages hand one another. */
const RECORDS = /^credential\/credential\.ts$|^telemetry\/(?:events|fault|tracing)\.ts$|^(?:exchange|control)\.ts$/

/** Ranks from the top of the house to its ground: a file imports from its own rank's folder or from below. */
const RANKS: readonly (readonly [RegExp, number])[] = [
  [GROUND, 0],
  [RECORDS, 1],
  [/^state\//, 2],
  [/^config\//, 2],
  [/^telemetry\//, 2],
  [/^(?:caller|policy|credential|mcp)\//, 3],
  [/^upstream\//, 4],
  [/^http\//, 5],
  [/^follow\.ts$/, 5],
  [/^(?:generation|reload)\.ts$/, 6],
  [/^(?:sidecar\.ts$|login\/)/, 7],
  [/^(?:index\.ts$|demo\/)/, 8],
  [/^cli\//, 9],
  [/^cli\.ts$/, 10],
]

function rank (file: string): number {
  return RANKS.find(([pattern]) => pattern.test(file))?.[1] ?? Number.NaN
}

function imports (file: string): string[] {
  return [...text(file).matchAll(/(?:from|import\()\s*'([^']+)'/g)].map((match) => match[1] as string)
}

/** Files of `src` that a file imports. */
function neighbours (file: string): string[] {
  return imports(file).filter((name) => name.startsWith('.')).map((name) => relative(src, join(src, dirname(file), name)).replace(/\.js$/, '.ts'))
}

t.test('every file has its place in the house', async (t) => {
  for (const file of files) t.not(rank(file), Number.NaN, `${file} belongs to a folder that has a rank`)
})

t.test('imports point one way', async (t) => {
  for (const file of files) {
    for (const other of neighbours(file)) {
      const sameFolder = dirname(file).split('/')[0] === dirname(other).split('/')[0] && dirname(file) !== '.'
      const downwards = rank(other) < rank(file) || (rank(other) === 1 && rank(file) === 1) || (rank(other) === 0 && rank(file) === 0)
      const beside = rank(other) === rank(file) && rank(file) === 3 && file.startsWith('policy/')
      t.ok(sameFolder || downwards || beside, `${file} may import ${other}`)
    }
  }
})

t.test('no file imports itself by a circle', async (t) => {
  const done = new Set<string>()
  const walk = (file: string, path: readonly string[]): string[] | undefined => {
    if (path.includes(file)) return [...path, file]
    if (done.has(file)) return undefined
    for (const other of valueNeighbours(file)) {
      const circle = walk(other, [...path, file])
      if (circle !== undefined) return circle
    }
    done.add(file)
    return undefined
  }
  for (const file of files) t.equal(walk(file, [])?.join(' → '), undefined, `${file} is in no circle`)
})

/** Without imports of types alone, which are gone when the code runs. */
function valueNeighbours (file: string): string[] {
  const code = text(file).replaceAll(/^import type [^;]*?from '[^']+'$/gm, '')
  return [...code.matchAll(/from\s*'(\.[^']+)'/g)].map((match) => relative(src, join(src, dirname(file), match[1] as string)).replace(/\.js$/, '.ts'))
}

t.test('each outer library has its door', async (t) => {
  const doors: Record<string, RegExp> = {
    '@fastify/http-proxy': /^http\/proxy\.ts$/,
    fastify: /^http\//,
    undici: /^upstream\/|^http\/proxy\.ts$|^demo\//,
    'prom-client': /^telemetry\/metrics\.ts$/,
    pino: /^telemetry\/log\.ts$/,
    'pino-pretty': /^telemetry\/log\.ts$/,
    lmdb: /^state\/lmdb[^/]*\.ts$/,
    ioredis: /^state\/redis[^/]*\.ts$/,
    open: /^cli\//,
    '@fastify/swagger': /^http\/admin/,
    'lru-cache': /^caller\/|^credential\//,
    oauth4webapi: /^credential\/grants\/|^login\//,
    jose: /^caller\/|^credential\/(?:lifetime\.ts$|grants\/)|^config\/signing-key\.ts$|^demo\//,
    commander: /^cli\.ts$/,
    yaml: /^config\/|^cli\/check\.ts$|^demo\//,
    ajv: /^config\/|^http\/admin\/validator\.ts$/,
    typebox: /^config\/|^http\/admin\//,
  }
  for (const file of files) {
    for (const name of imports(file)) {
      const door = doors[name]
      if (door !== undefined) t.match(file, door, `${file} may import ${name}`)
      if (/^@opentelemetry\//.test(name)) t.match(file, /^telemetry\/(?:traces|otlp)\.ts$/, `${file} may import ${name}`)
      if (/^@modelcontextprotocol\//.test(name)) t.match(file, /^demo\//, `${file} may import ${name}`)
    }
  }
})

t.test('a secret is opened only where it leaves the process, is stored sealed or is compared', async (t) => {
  const may = /^secret\.ts$|^upstream\/|^credential\/(?:grants\/|record\.ts$|renewal\.ts$)|^caller\/directory\.ts$|^state\/(?:open|redis-client)\.ts$|^config\/(?:check-secrets|admin-token)\.ts$|^http\/admin\/(?:access|sessions)\.ts$|^login\/given\.ts$|^cli\.ts$|^cli\/admin-client\.ts$|^demo\/(?:stage|hand-out)\.ts$/
  for (const file of files) if (text(file).includes('.reveal()')) t.match(file, may, `${file} may open a secret`)
})

t.test('only the command reads argv, the environment and exits', async (t) => {
  for (const file of files) {
    if (file === 'cli.ts') continue
    t.notMatch(text(file), /process\.argv|process\.exit\b(?!Code)/, `${file} leaves argv and exit to cli.ts`)
    if (!file.startsWith('demo/')) t.notMatch(text(file), /process\.env/, `${file} is given its environment`)
  }
})

t.test('the demo weighs on nobody who does not ask for it', async (t) => {
  for (const file of files.filter((name) => !name.startsWith('demo/'))) {
    t.notMatch(text(file), /from '[^']*demo\//, `${file} does not load the demo with itself`)
  }
})

t.test('traces weigh on nobody who does not ask for them', async (t) => {
  for (const file of files.filter((name) => !/^telemetry\/(?:traces|otlp)\.ts$/.test(name))) {
    t.notMatch(text(file).replaceAll(/^import type .*$/gm, ''), /from '[^']*(?:traces|otlp)\.js'/, `${file} does not load them with itself`)
  }
})

t.test('files stay short', async (t) => {
  const page = readdirSync(join(src, 'http/admin/page')).map((name) => `http/admin/page/${name}`)
  for (const file of [...files, ...page]) t.ok(text(file).split('\n').length <= 251, `${file} has at most 250 lines`)
})
