import { createPalette, type Terminal } from '../../src/cli/terminal.js'

export interface Screen extends Terminal {
  stdout (): string
  stderr (): string
}

/** What a verb wrote; as if to a terminal where that is asked for. */
export function screen (options: { isTerminal?: boolean, colour?: boolean } = {}): Screen {
  const { isTerminal = false, colour = false } = options
  let [stdout, stderr] = ['', '']
  return {
    out: (text) => { stdout += text },
    err: (text) => { stderr += text },
    isTerminal,
    palette: createPalette(colour),
    stdout: () => stdout,
    stderr: () => stderr,
  }
}
