import { type Node, visit } from 'yaml'
import { keyOf, offsetOf } from './position.js'

export interface Fault {
  readonly offset: number
  readonly message: string
}

/** Tags that say what is the case anyway. All others make something that is no JSON: `!!binary`, `!!set`, `!!timestamp`. */
const PLAIN_TAGS = new Set(['str', 'int', 'float', 'bool', 'null', 'map', 'seq'].map((name) => `tag:yaml.org,2002:${name}`))

/**
 * What the `yaml` package lets through or finds too late for a line number: tags that it knows beyond the schema that
 * was asked for, aliases without an anchor, and keys that a map has twice, which it would compare in quadratic time.
 */
export function treeFaults (contents: Node | null): Fault[] {
  const faults: Fault[] = []
  const anchors = new Set<string>()
  const report = (node: unknown, message: string) => { faults.push({ offset: offsetOf(node) ?? 0, message }) }
  visit(contents, {
    Alias (_key, alias) {
      if (!anchors.has(alias.source)) report(alias, 'this alias (*name) does not lead anywhere: define &name before it; a text that starts with "*" needs quotes')
    },
    Value (_key, node) {
      if (node.anchor !== undefined) anchors.add(node.anchor)
      if (node.tag !== undefined && !PLAIN_TAGS.has(node.tag)) report(node, 'tags (!name) are not understood here')
    },
    Map (_key, map) {
      if (map.anchor !== undefined) anchors.add(map.anchor)
      if (map.tag !== undefined && !PLAIN_TAGS.has(map.tag)) report(map, 'tags (!name) are not understood here')
      const seen = new Set<string>()
      for (const pair of map.items) {
        if (seen.has(keyOf(pair))) report(pair.key, 'this key is there twice')
        seen.add(keyOf(pair))
      }
    },
  })
  return faults
}
