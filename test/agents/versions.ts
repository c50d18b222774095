import { readFileSync } from 'node:fs'
import type { AgentClient } from './clients.js'

/** The version of a client's package that is run: the one installed by npm, or the one that the requirements pin. */
export function versionOf ({ runtime, package: name }: Pick<AgentClient, 'runtime' | 'package'>): string {
  if (runtime === 'node') {
    const text = readFileSync(new URL(`../../node_modules/${name}/package.json`, import.meta.url), 'utf8')
    return (JSON.parse(text) as { version: string }).version
  }
  const pins = readFileSync(new URL(runtime, import.meta.url), 'utf8').split('\n')
  const version = pins.map((line) => /^([\w.-]+)(?:\[.*?\])?==(\S+)/.exec(line)).find((match) => match?.[1] === name)?.[2]
  if (version === undefined) throw new Error(`test/agents/${runtime} does not pin ${name}`)
  return version
}
