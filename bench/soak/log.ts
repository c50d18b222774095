import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'

/** A session key, a JWT, a refresh token of the demo's issuer: what no line of a log may hold. */
const SECRETS = /vk_[\w-]{43}|eyJ[\w-]{8,}\.[\w-]{8,}\.|rt_[\w-]{8,}\.\d+\./
const FAULTS = ['internal_error', 'state_failed']

export interface LogFindings {
  readonly lines: number
  readonly secrets: number
  /** Lines that are no JSON object: a crash, say. The first of them. */
  readonly strange: string | undefined
  /** Faults of the sidecar's own by event, and lines at level error by reason. */
  readonly faults: Readonly<Record<string, number>>
  readonly errors: Readonly<Record<string, number>>
}

/** Reads the whole log. */
export async function readLog (file: string): Promise<LogFindings> {
  let lines = 0
  let secrets = 0
  let strange: string | undefined
  const faults: Record<string, number> = {}
  const errors: Record<string, number> = {}
  for await (const line of createInterface({ input: createReadStream(file) })) {
    lines++
    if (SECRETS.test(line)) secrets++
    const entry = parsed(line)
    if (entry === undefined) {
      strange ??= line
      continue
    }
    const { event, level, reason, code, outcome } = entry
    if (FAULTS.includes(String(event))) add(faults, `${String(event)}: ${String(reason)}`)
    else if (level === 'error' || level === 50) add(errors, `${String(event)} ${String(code ?? outcome ?? '')}`.trim())
  }
  return { lines, secrets, strange, faults, errors }
}

function parsed (line: string): Record<string, unknown> | undefined {
  try {
    return JSON.parse(line) as Record<string, unknown>
  } catch {
    return undefined
  }
}

function add (counts: Record<string, number>, name: string): void {
  counts[name] = (counts[name] ?? 0) + 1
}
