// Blanks types out where they stand, so that lines and columns stay as they are, and neither coverage nor stacks need source maps.
// What was done is kept, or each of two hundred test files would load TypeScript and parse all of src anew.
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const folder = fileURLToPath(new URL('../node_modules/.cache/blanked/', import.meta.url))
const { version } = JSON.parse(readFileSync(new URL('../node_modules/ts-blank-space/package.json', import.meta.url), 'utf8'))

const root = new URL('../', import.meta.url).href

/** In TypeScript as tsc has it, `./x.js` means `./x.ts` where there is one. */
export async function resolve (specifier, context, next) {
  const source = sourceOf(specifier, context.parentURL)
  if (source === undefined) return await next(specifier, context)
  // What a test mocks it names as the code does, by `.js`, and tap must see that first.
  if (context.parentURL?.includes('tapmock')) {
    try {
      return await next(specifier, context)
    } catch {}
  }
  return await next(source, context)
}

function sourceOf (specifier, parent) {
  if (!/^(?:\.{1,2}\/|file:).*\.js(?:$|\?)/.test(specifier)) return undefined
  const url = new URL(specifier, parent)
  if (!url.href.startsWith(root) || url.pathname.includes('/node_modules/') || url.pathname.includes('/dist/')) return undefined
  url.pathname = url.pathname.replace(/\.js$/, '.ts')
  return existsSync(fileURLToPath(url)) ? url.href : undefined
}

export async function load (url, context, next) {
  if (!/\.ts(?:$|[?#])/.test(url) || url.includes('/node_modules/')) return await next(url, context)
  const source = readFileSync(new URL(url), 'utf8')
  return { format: 'module', shortCircuit: true, source: await blanked(source) }
}

async function blanked (source) {
  const file = folder + createHash('sha256').update(version).update(source).digest('hex') + '.js'
  try {
    return readFileSync(file, 'utf8')
  } catch {}
  const { default: blank } = await import('ts-blank-space')
  const result = blank(source)
  mkdirSync(folder, { recursive: true })
  // Whole or not at all: others read it meanwhile.
  const own = `${file}.${process.pid}`
  writeFileSync(own, result)
  renameSync(own, file)
  return result
}
