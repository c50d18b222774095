import type { AnswerPattern } from './config.js'
import type { Finding, Path } from './problem.js'
import { at, isMap, listAt, type RawMap } from './raw.js'

/** Checks of `refresh_on_answer` that its schema cannot make: that each pattern tells one answer from another. */
export function refusingAnswerFindings (upstream: RawMap, path: Path): Finding[] {
  return listAt(upstream, 'refresh_on_answer').flatMap((pattern, index) => {
    const place = [...path, 'refresh_on_answer', index]
    return [...resultFindings(at(pattern, 'result'), [...place, 'result']), ...emptyMaps(at(pattern, 'error'), [...place, 'error']), ...emptyMaps(at(pattern, 'result'), [...place, 'result'])]
  })
}

/** The pattern of a tool's result is one of an error, in every case. */
export function answerPattern (raw: { error?: object, result?: object }): AnswerPattern {
  return raw.result === undefined ? { error: raw.error } : { result: { isError: true, ...raw.result } }
}

function resultFindings (result: unknown, path: Path): Finding[] {
  if (!isMap(result) || at(result, 'structuredContent') !== undefined || at(result, '_meta') !== undefined) return []
  return [{ path, message: 'fits every tool that fails: name members of its structuredContent or _meta' }]
}

function emptyMaps (value: unknown, path: Path): Finding[] {
  if (Array.isArray(value)) return value.flatMap((item, index) => emptyMaps(item, [...path, index]))
  if (!isMap(value)) return []
  const members = Object.entries(value)
  if (members.length === 0) return [{ path, message: 'fits any map: name at least one of its members' }]
  return members.flatMap(([key, member]) => emptyMaps(member, [...path, key]))
}
