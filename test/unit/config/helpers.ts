import { loadConfigText } from '../../../src/config/load.js'
import { ConfigError, type ConfigProblem } from '../../../src/config/problem.js'
import type { Config } from '../../../src/config/config.js'

/** A config with one upstream, one principal and one session; text may be put in at the places that tests vary. */
export function yaml (parts: { top?: string, upstream?: string, upstreams?: string, credential?: string, principals?: string, session?: string } = {}): string {
  const indent = (text: string, by: number) => text.split('\n').map((line) => `${' '.repeat(by)}${line}`).join('\n')
  return [
    parts.top ?? '',
    'upstreams:',
    '  tools:',
    '    url: http://localhost:8001/mcp',
    indent(parts.upstream ?? '', 4),
    indent(parts.upstreams ?? '', 2),
    'principals:',
    '  alice:',
    '    credentials:',
    `      tools: ${parts.credential ?? '{ type: api_token, token: { env: T } }'}`,
    indent(parts.principals ?? '', 2),
    'sessions:',
    `  - { principal: alice, agent: planner, key: { env: K }${parts.session === undefined ? '' : `, ${parts.session}`} }`,
  ].join('\n')
}

export function load (text: string, env: NodeJS.ProcessEnv = {}): Config {
  return loadConfigText(text, { env })
}

export function problemsOf (text: string): readonly ConfigProblem[] {
  try {
    load(text)
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
  return []
}

/** `path: message`, one a problem. */
export function complaints (text: string): string[] {
  return problemsOf(text).map(({ path, message }) => `${path}: ${message}`)
}

export function warningsOf (text: string): string[] {
  const warnings: string[] = []
  loadConfigText(text, { env: {}, warn: ({ path, message }) => warnings.push(`${path}: ${message}`) })
  return warnings
}
