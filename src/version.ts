import { readFileSync } from 'node:fs'

/** The version of the package, from its own package.json: beside `src` and, once built, beside `dist`. */
export const VERSION: string = (JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }).version
