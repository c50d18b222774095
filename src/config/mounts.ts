import type { Finding, Path, ValueError } from './problem.js'
import { mapAt, type RawMap, readable, textAt } from './raw.js'
import { readMountPath } from './values.js'

/** Where an upstream without a `path` is reached. */
export function defaultPath (upstream: string): string {
  return `/${upstream}/mcp`
}

/**
 * Upstreams that stand in each other's way. A path below another one's is refused too: calls below a path belong to it.
 */
export function mountFindings (upstreams: RawMap): Finding[] {
  // By mount path. Looking only along a path's own ancestors keeps thousands of upstreams quick.
  const taken = new Map<string, string>()
  const mounts = Object.keys(upstreams).map((name) => ({ name, written: textAt(mapAt(upstreams, name), 'path') }))
    .map(({ name, written }) => ({ name, at: pathTo(name), path: readable(written ?? defaultPath(name), readMountPath), written }))
  const findings: Finding[] = []
  for (const { name, at, path, written } of mounts) {
    if (path === undefined && written === undefined) findings.push(...badDefault(name, at))
    if (path === undefined) continue
    const equal = taken.get(path)
    if (equal === undefined) taken.set(path, name)
    else findings.push({ path: at, message: `another upstream has the same path: ${shown(equal)}` })
  }
  for (const { name, at, path } of mounts) {
    const above = path === undefined ? undefined : ancestors(path).map((parent) => taken.get(parent)).find((owner) => owner !== undefined && owner !== name)
    if (above !== undefined) findings.push({ path: at, message: `is below the path of another upstream, to which all calls below it belong: ${shown(above)}` })
  }
  return findings
}

function pathTo (name: string): Path {
  return ['upstreams', name, 'path']
}

/** An upstream named `token` would by default stand in a reserved place. A bad name is reported as such. */
function badDefault (name: string, at: Path): Finding[] {
  try {
    readMountPath(defaultPath(name))
    return []
  } catch (error) {
    return /^[\w.-]+$/.test(name)
      ? [{ path: at, message: `must be given, as the default is refused: ${(error as ValueError).message}` }]
      : []
  }
}

function ancestors (path: string): string[] {
  const segments = path.split('/').slice(1, -1)
  return segments.map((_segment, index) => `/${segments.slice(0, index + 1).join('/')}`)
}

function shown (name: string): string {
  return JSON.stringify(name.slice(0, 64))
}
