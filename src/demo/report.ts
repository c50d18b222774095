/** Paints a text for a terminal, or leaves it as it is. */
export interface Palette {
  strong (text: string): string
  soft (text: string): string
  good (text: string): string
  warm (text: string): string
}

/** What a run of the demo found; tokens by fingerprint, durations in seconds. */
export interface Findings {
  readonly endpoint: string
  readonly maskedKey: string
  readonly tools: readonly string[]
  readonly subject: string
  readonly remainingSeconds: number
  /** Of the token that reached the server first, and of the one after the refresh. */
  readonly before: string
  readonly after: string
  readonly lifetime: number
  readonly overhead: Overhead | undefined
}

export interface Overhead {
  readonly meanSeconds: number
  readonly calls: number
}

/** @param colour false where the output is no terminal, or where NO_COLOR asks for none (https://no-color.org) */
export function createPalette (colour: boolean): Palette {
  const paint = (on: number, off: number) => (text: string): string => colour ? `\u001b[${on}m${text}\u001b[${off}m` : text
  return { strong: paint(1, 22), soft: paint(2, 22), good: paint(32, 39), warm: paint(33, 39) }
}

/** The lines that say what happened to the calls, each of them one thing that was seen. */
export function describe (findings: Findings, palette: Palette): string {
  const { strong, soft, good, warm } = palette
  const before = warm(`<${findings.before}>`)
  const after = good(`<${findings.after}>`)

  return section(strong('What the agent held'), [
    ['session key', findings.maskedKey, 'and no token at all'],
    ['tools', findings.tools.join(' '), ''],
    ['called', 'whoami', `at ${findings.endpoint}`],
  ], palette) + section(strong('What the server received'), [
    ['Authorization', `Bearer ${before}`, `a signed JWT of ${findings.subject}, good for ${findings.remainingSeconds} s`],
    ['X-API-KEY', before, 'the same token'],
  ], palette) + section(strong('What the refresh did'), [
    ['the server', 'answered 401', 'it had revoked that token before the next call'],
    ['the sidecar', `${before} → ${after}`, 'refreshed it and replayed the call'],
    ['the agent', good('saw 200'), 'and nothing else'],
  ], palette) + section(strong('What it cost'), [
    cost(findings.overhead, good),
  ], palette) + soft(`  <…> is a fingerprint: the first 8 hex digits of a token's SHA-256. Tokens live ${findings.lifetime} s here and are refreshed ahead of that.\n`)
}

/** `vk_Ab12…`: enough to tell two keys apart, and nothing to call with. */
export function maskKey (key: string): string {
  return `${key.slice(0, 7)}…`
}

/** @param seconds printed as µs below a millisecond, else as ms */
export function formatDuration (seconds: number): string {
  const ms = seconds * 1000
  return ms < 1 ? `${Math.round(ms * 1000)} µs` : `${ms.toFixed(1)} ms`
}

function cost (overhead: Overhead | undefined, good: Palette['good']): Row {
  if (overhead === undefined) return ['overhead', 'not measured', 'the metrics of the sidecar hold no call yet']
  const mean = formatDuration(overhead.meanSeconds)
  return ['overhead', good(`${mean} a call`), `mean of ${overhead.calls} calls without a refresh; the target is under 100 ms`]
}

type Row = [what: string, value: string, remark: string]

function section (title: string, rows: Row[], { soft }: Palette): string {
  const lines = rows.map(([what, value, remark]) => `    ${what.padEnd(15)}${remark === '' ? value : pad(value, 27) + soft(remark)}`)
  return `  ${title}\n${lines.join('\n')}\n\n`
}

// Colour codes have a length and no width.
function pad (text: string, width: number): string {
  // eslint-disable-next-line no-control-regex
  const visible = text.replace(/\u001b\[\d+m/g, '').length
  return text + ' '.repeat(Math.max(1, width - visible))
}
