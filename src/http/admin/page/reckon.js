// What the page reckons out, without a browser.

/** What cannot be seen or would turn round what stands beside it, as mcp-valet's commands show it. */
const HIDDEN = /[\p{C}\p{Zl}\p{Zp}]/gu
const LONGEST = 80

/** Somebody else's text: on one line, of bounded length, and with what cannot be seen as `\u{202e}`. */
export function shown (text, most = LONGEST) {
  const characters = [...String(text).slice(0, 2 * most + 2)]
  const cut = characters.length > most ? [...characters.slice(0, most - 1), '…'] : characters
  return cut.join('').replace(HIDDEN, (hidden) => `\\u{${hidden.codePointAt(0).toString(16)}}`)
}

/** `42 s`, `5 min`, `3 h 20 min`, `12 d`. @param seconds 0 or more */
export function duration (seconds) {
  const s = Math.floor(seconds)
  if (s < 120) return `${s} s`
  if (s < 7200) return `${Math.floor(s / 60)} min`
  if (s < 172_800) return s % 3600 < 60 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min`
  return `${Math.floor(s / 86_400)} d`
}

/** `in 42 s` or `42 s ago`. @param until milliseconds since the epoch */
export function relative (until, now) {
  const seconds = (until - now) / 1000
  if (Math.abs(seconds) < 1) return 'now'
  return seconds > 0 ? `in ${duration(seconds)}` : `${duration(-seconds)} ago`
}

/** Seconds as `0.21 ms`, `14 ms` or `1.2 s`. */
export function time (seconds) {
  return seconds < 1 ? `${digits(seconds * 1000)} ms` : `${digits(seconds)} s`
}

export function percent (share) {
  return `${digits(share * 100)} %`
}

/** Two digits that count, and no more than there are before the point. */
export function digits (number) {
  if (number === 0) return '0'
  if (number < 0.01) return '< 0.01'
  return number < 10 ? String(Number(number.toPrecision(2))) : String(Math.round(number))
}

/** Both of them as one. */
export function together (a, b) {
  const [long, short] = a.bounds.length >= b.bounds.length ? [a, b] : [b, a]
  return {
    bounds: long.bounds, counts: long.counts.map((count, i) => count + (short.counts[i] ?? 0)), sum: a.sum + b.sum, count: a.count + b.count,
  }
}

/**
 * The value below which a share of all lies, as Prometheus' histogram_quantile has it: evenly spread within a bucket.
 * @returns undefined where there is none; Infinity above the last bound
 */
export function quantile ({ bounds, counts, count }, share) {
  if (count === 0) return undefined
  let below = 0
  for (let i = 0; i < bounds.length; i++) {
    if (counts[i] > 0 && below + counts[i] >= share * count) {
      const from = i === 0 ? 0 : bounds[i - 1]
      return from + (bounds[i] - from) * (share * count - below) / counts[i]
    }
    below += counts[i]
  }
  return Infinity
}

/** Figures of the last seconds, for rates. */
export class History {
  #kept = []

  constructor (seconds = 10) {
    this.seconds = seconds
  }

  /** A stream that begins anew may come from another process. */
  forget () {
    this.#kept = []
  }

  add (figures) {
    this.#kept.push(figures)
    while (this.#kept.length > 2 && this.#kept[1].elapsed <= figures.elapsed - this.seconds) this.#kept.shift()
  }

  /**
   * How fast a count has grown.
   * @param countOf of figures; undefined where it was not there yet
   * @returns a second; undefined where there is only one look so far
   */
  rate (countOf) {
    const [first, last] = [this.#kept[0], this.#kept.at(-1)]
    if (first === undefined || last.elapsed <= first.elapsed) return undefined
    return Math.max(0, (countOf(last) ?? 0) - (countOf(first) ?? 0)) / (last.elapsed - first.elapsed)
  }
}

/** Splits what arrives of server-sent events; mcp-valet's have a name and one line of JSON. */
export class EventReader {
  #rest = ''

  /** @returns the events that are whole now */
  read (text) {
    const blocks = (this.#rest + text).split('\n\n')
    this.#rest = blocks.pop()
    return blocks.map((block) => /^event: (\w+)\ndata: ([^\n]*)$/.exec(block)).filter((match) => match !== null).map(([, name, data]) => ({ name, data: JSON.parse(data) }))
  }
}
