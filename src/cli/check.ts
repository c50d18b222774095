import { stringify } from 'yaml'
import { systemClock } from '../clock.js'
import { checkSecrets } from '../config/check-secrets.js'
import { ConfigError, loadConfigFile, type ConfigProblem } from '../config/load.js'
import { effectiveConfig } from '../config/mask.js'
import { renderProblems } from '../config/problem.js'

export interface CheckOptions {
  readonly config: string
  /** Whether to read each secret once, to see that it is there. */
  readonly secrets: boolean
  readonly env: NodeJS.ProcessEnv
}

/** `mcp-valet check`: the effective config on standard output, or every problem on standard error. @returns the exit code */
export async function check ({ config: file, secrets, env }: CheckOptions): Promise<0 | 1> {
  const warnings: ConfigProblem[] = []
  try {
    const config = await loadConfigFile(file, env, { now: systemClock.now(), warn: (warning) => warnings.push(warning) })
    const problems = secrets ? await checkSecrets(config, { now: systemClock.now(), warn: (warning) => warnings.push(warning) }) : []
    if (warnings.length > 0) process.stderr.write(renderProblems(file, warnings.map((warning) => ({ ...warning, message: `warning: ${warning.message}` }))) + '\n')
    if (problems.length > 0) return refuse(file, problems)
    process.stdout.write(stringify(effectiveConfig(config)))
    return 0
  } catch (error) {
    if (error instanceof ConfigError) return refuse(file, error.problems)
    throw error
  }
}

function refuse (file: string, problems: readonly ConfigProblem[]): 1 {
  process.stderr.write(`${renderProblems(file, problems)}\n${problems.length} problem${problems.length === 1 ? '' : 's'} in ${file}\n`)
  return 1
}
