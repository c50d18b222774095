/** The argument by which node runs TypeScript, in whatever folder it is started. */
export const TYPESCRIPT = `--import=${new URL('../typescript.mjs', import.meta.url).href}`
