import { open } from 'node:fs/promises'
import type { Config } from './config.js'
import { MAX_CONFIG_BYTES, parseConfig } from './parse.js'
import { locator, type Written } from './position.js'
import { ConfigError, type ConfigProblem, type Finding, formatPath } from './problem.js'
import { resolveConfig } from './resolve.js'
import type { RawConfig } from './schema.js'
import { semanticFindings } from './semantics.js'
import { structureFindings } from './validate.js'
import { warningsOf } from './warnings.js'

export { ConfigError, type ConfigProblem } from './problem.js'

const MAX_PROBLEMS = 200
const UNREADABLE: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file (in a container: mount yours there, read-only)',
  EISDIR: 'this is a folder: name the config file in it',
  EACCES: 'the user that mcp-valet runs as may not read this file, or look into its folder: allow it that',
}

export interface LoadOptions {
  /** Where `{ env: NAME }` looks, each time a secret is read. */
  readonly env: NodeJS.ProcessEnv
  /** For messages only. */
  readonly file?: string | undefined
  /** Called for each thing that works and is likely not meant, once the config has proved to be good. */
  readonly warn?: ((warning: ConfigProblem) => void) | undefined
  /** Milliseconds since the epoch; without it no warning is given of what is over. */
  readonly now?: number | undefined
}

/**
 * Reads, checks and completes a config file (YAML or JSON, UTF-8, at most 1 MiB). No secret is read yet.
 * @throws {ConfigError} with every problem at once, and also where the file cannot be read
 */
export async function loadConfigFile (
  path: string, env: NodeJS.ProcessEnv, options: Pick<LoadOptions, 'warn' | 'now'> = {}
): Promise<Config> {
  return loadConfigText(await readText(path), { ...options, env, file: path })
}

/** As `loadConfigFile`, for a text that is there already. */
export function loadConfigText (text: string, options: LoadOptions): Config {
  const located = parseConfig(text, options.file)
  const locate = locator(located)
  const asProblem = ({ path, message, hidden }: Finding): ConfigProblem =>
    ({ path: formatPath(hidden === true ? path.slice(0, -1) : path), ...locate(path), message })
  const findings = allFindings(located.value)
  if (findings.length > 0) throw new ConfigError(options.file, inOrder(limited(findings).map(asProblem)))
  const config = { ...resolveConfig(located.value as RawConfig, options.env), written: writtenAs(text, options.file) }
  for (const warning of inOrder(warningsOf(located.value, config, options.now).map(asProblem))) options.warn?.(warning)
  return config
}

/** By itself, so that nothing but the text is kept. */
function writtenAs (text: string, file: string | undefined): Written {
  return { file, locator: () => locator(parseConfig(text, file)) }
}

/** The first finding of each path. */
function allFindings (raw: unknown): Finding[] {
  const byPath = new Map<string, Finding>()
  for (const finding of [...structureFindings(raw), ...semanticFindings(raw)]) {
    const key = JSON.stringify(finding.path)
    if (!byPath.has(key)) byPath.set(key, finding)
  }
  return [...byPath.values()]
}

function limited (findings: Finding[]): Finding[] {
  const more = findings.length - MAX_PROBLEMS
  return more <= 0 ? findings : [...findings.slice(0, MAX_PROBLEMS), { path: [], message: `and ${more} more problems` }]
}

function inOrder (problems: ConfigProblem[]): ConfigProblem[] {
  return problems.sort((a, b) => a.line - b.line || a.column - b.column)
}

async function readText (path: string): Promise<string> {
  const refuse = (message: string) => new ConfigError(path, [{ path: '', line: 0, column: 0, message }])
  let bytes: Buffer
  try {
    bytes = await readAtMost(path, MAX_CONFIG_BYTES + 1)
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    throw refuse(UNREADABLE[code ?? ''] ?? `the file cannot be read (${code ?? 'unknown error'})`)
  }
  if (bytes.length > MAX_CONFIG_BYTES) throw refuse('the config is larger than 1 MiB')
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw refuse('the file is not UTF-8 text')
  }
}

/** Piece by piece, as the size of a pipe (`-c <(…)`) is not known beforehand. */
async function readAtMost (path: string, limit: number): Promise<Buffer> {
  const file = await open(path, 'r')
  try {
    const buffer = Buffer.alloc(limit)
    let length = 0
    while (length < limit) {
      const { bytesRead } = await file.read(buffer, length, limit - length, null)
      if (bytesRead === 0) break
      length += bytesRead
    }
    return buffer.subarray(0, length)
  } finally {
    await file.close()
  }
}
