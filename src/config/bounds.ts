import type { CST } from 'yaml'

/** Levels of nesting; a config that makes sense needs about ten. */
export const MAX_DEPTH = 64
const MAX_VALUES = 200_000

/** Whether YAML's syntax tree is deeper than `max`; with a stack of its own, as the tree's depth is the reader's to choose. */
export function nestsDeeperThan (tokens: readonly CST.Token[], max: number): boolean {
  const open: Array<[token: CST.Token, depth: number]> = tokens.map((token) => [token, 0])
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const [token, depth] = next
    if (depth > max) return true
    for (const child of children(token)) open.push([child, depth + 1])
  }
  return false
}

function children (token: CST.Token): CST.Token[] {
  if (token.type === 'document') return token.value === undefined ? [] : [token.value]
  if (!('items' in token)) return []
  return token.items.flatMap((item) => [item.key, item.value].filter((child) => child !== null && child !== undefined))
}

/** Whether data is deeper than MAX_DEPTH or has more than 200 000 values, aliases counted each time they are used. */
export function isTooLarge (value: unknown): boolean {
  const open: Array<[value: unknown, depth: number]> = [[value, 0]]
  let count = 0
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const [current, depth] = next
    count += 1
    if (count > MAX_VALUES || depth > MAX_DEPTH) return true
    if (typeof current !== 'object' || current === null) continue
    for (const child of Object.values(current)) open.push([child, depth + 1])
  }
  return false
}
