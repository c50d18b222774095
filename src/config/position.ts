import { isAlias, isMap, isScalar, isSeq, type LineCounter, type Node, type Pair, visit } from 'yaml'
import { type ConfigProblem, type Finding, formatPath, type Path } from './problem.js'

/** A config as data, and the syntax tree that it came from. */
export interface Located {
  readonly value: unknown
  readonly contents: Node | null
  readonly lines: LineCounter
}

/** Line and column, both from 1. */
export interface Position {
  readonly line: number
  readonly column: number
}

/** The text that a config came from. */
export interface Written {
  /** For messages only. */
  readonly file: string | undefined
  /** Finds places in it. The text is read anew for that, as its syntax tree takes fifty times its space and is seldom asked for. */
  locator (): (path: Path) => Position
}

/** Findings about a config, each with its place where that is known. */
export function located (written: Written | undefined, findings: readonly Finding[]): ConfigProblem[] {
  const locate = findings.length === 0 ? undefined : written?.locator()
  return findings.map(({ path, message }) => ({ path: formatPath(path), ...locate?.(path) ?? { line: 0, column: 0 }, message }))
}

/**
 * Finds the place of a path: of the key for a member of a map, of the item for one of a list. Where the path leads to
 * something that is not written (a key that is missing), the last part of it that is.
 */
export function locator ({ contents, lines }: Located): (path: Path) => Position {
  const anchors = anchoredNodes(contents)
  return (path) => {
    let node: unknown = contents
    let offset = offsetOf(contents) ?? 0
    for (const segment of path) {
      if (isAlias(node)) node = anchors.get(node.source)
      const child = childOf(node, segment)
      if (child === undefined) break
      offset = offsetOf(child.at) ?? offset
      node = child.node
    }
    const { line, col } = lines.linePos(offset)
    return { line, column: col }
  }
}

function childOf (node: unknown, segment: string | number): { at: unknown, node: unknown } | undefined {
  if (isSeq(node) && typeof segment === 'number') return { at: node.items[segment], node: node.items[segment] }
  const pair = isMap(node) ? node.items.find((item) => keyOf(item) === segment) : undefined
  return pair === undefined ? undefined : { at: pair.key, node: pair.value }
}

/** The name under which the pair is in the data: the `yaml` package makes an empty key "". */
export function keyOf (pair: Pair): string {
  const value = isScalar(pair.key) ? pair.key.value : undefined
  return value === null || value === undefined ? '' : String(value)
}

/** Where a node begins in the text; undefined for one that is not written. */
export function offsetOf (node: unknown): number | undefined {
  return (node as Partial<Node> | null)?.range?.[0]
}

/** An anchor may be redefined; the one before the alias counts. Aliases are few, and the last definition is near enough for a line number. */
function anchoredNodes (contents: Node | null): Map<string, unknown> {
  const anchors = new Map<string, unknown>()
  visit(contents, { Node (_key, node) { if ('anchor' in node && node.anchor !== undefined) anchors.set(node.anchor, node) } })
  return anchors
}
