/** Where a verb writes, and what can be shown there. */
export interface Terminal {
  out (text: string): void
  err (text: string): void
  /** Whether standard output is read by a person. */
  readonly isTerminal: boolean
  readonly palette: Palette
}

/** Paints a text, or leaves it as it is. */
export interface Palette {
  strong (text: string): string
  soft (text: string): string
  good (text: string): string
  warm (text: string): string
  bad (text: string): string
}

/** @param colour false where nobody sees it: no terminal, a dumb one, or NO_COLOR (https://no-color.org) */
export function createPalette (colour: boolean): Palette {
  const paint = (on: number, off: number) => (text: string): string => colour ? `\u001b[${on}m${text}\u001b[${off}m` : text
  return { strong: paint(1, 22), soft: paint(2, 22), good: paint(32, 39), warm: paint(33, 39), bad: paint(31, 39) }
}

interface Streams { readonly stdout: { write (text: string): unknown, readonly isTTY?: boolean }, readonly stderr: { write (text: string): unknown } }

export function createTerminal ({ stdout, stderr }: Streams, env: NodeJS.ProcessEnv): Terminal {
  const isTerminal = stdout.isTTY === true
  return {
    out: (text) => { stdout.write(text) },
    err: (text) => { stderr.write(text) },
    isTerminal,
    palette: createPalette(isTerminal && (env.NO_COLOR ?? '') === '' && env.TERM !== 'dumb'),
  }
}
