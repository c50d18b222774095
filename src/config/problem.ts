/** Where a value stands in the config: keys, and indexes of lists. */
export type Path = ReadonlyArray<string | number>

/** Something wrong at a path, before its line is looked up. The message never holds a value from the config. */
export interface Finding {
  readonly path: Path
  readonly message: string
  /** The path's last key is not to be shown: it could be a secret in the wrong place. */
  readonly hidden?: boolean
}

/** A finding as people read it. `line` and `column` count from 1; both are 0 where there is no place to point at. */
export interface ConfigProblem {
  /** Like `upstreams.tools.url` or `sessions[0].key`; empty for the file as a whole. */
  readonly path: string
  readonly line: number
  readonly column: number
  readonly message: string
}

/** The config cannot be used. Holds every problem that was found, in the order of the file. */
export class ConfigError extends Error {
  readonly file: string | undefined
  readonly problems: readonly ConfigProblem[]

  constructor (file: string | undefined, problems: readonly ConfigProblem[]) {
    super(renderProblems(file, problems))
    this.name = 'ConfigError'
    this.file = file
    this.problems = problems
  }
}

/** A single value is not what it should be: the message says what is expected, and never repeats the value. */
export class ValueError extends Error {
  constructor (message: string) {
    super(message)
    this.name = 'ValueError'
  }
}

/** One line a problem: `config/valet.yaml:12:5 upstreams.tools.urll: unknown key; did you mean "url"?` */
export function renderProblems (file: string | undefined, problems: readonly ConfigProblem[]): string {
  return problems.map((problem) => {
    const place = (file ?? 'config') + (problem.line > 0 ? `:${problem.line}:${problem.column}` : '')
    return problem.path === '' ? `${place} ${problem.message}` : `${place} ${problem.path}: ${problem.message}`
  }).join('\n')
}

/** `['sessions', 0, 'key']` → `sessions[0].key`. Names that look like a secret in the wrong place are not shown. */
export function formatPath (path: Path): string {
  return path.reduce<string>((text, segment) => {
    if (typeof segment === 'number') return `${text}[${segment}]`
    const name = shownName(segment)
    if (!/^[$\w@+-]+$/.test(name)) return `${text}[${JSON.stringify(name)}]`
    return text === '' ? name : `${text}.${name}`
  }, '')
}

/**
 * Whether a text that stands where a name belongs is more likely a secret. `{ token:abc }` without the space is one
 * YAML key, and a pasted token has mixed characters that names given by people do not have.
 */
export function looksLikeSecret (text: string): boolean {
  return /:(?!\/\/)/.test(text) ||
    /^(vk_|eyJ)[\w-]{16}/.test(text) ||
    /[0-9a-f]{32}/i.test(text) ||
    (text.length >= 20 && /[a-z]/.test(text) && /[A-Z]/.test(text) && /[0-9]/.test(text))
}

function shownName (name: string): string {
  if (looksLikeSecret(name)) return '(not shown)'
  return name.length > 64 ? `${name.slice(0, 64)}…` : name
}
