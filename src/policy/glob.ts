/** Tells whether a name fits. */
export type Matcher = (name: string) => boolean

/**
 * A glob of tool names: `*` stands for any run of characters, `?` for one, everything else for itself, case included.
 *
 * The time for a name grows with its length and, 32 characters at a step, with the pattern's. A regular expression made
 * of the pattern could be sent back and forth for minutes by a name that was thought up for it.
 */
export function compileGlob (pattern: string): Matcher {
  const first = pattern.search(/[*?]/)
  if (first < 0) return (name) => name === pattern
  const last = Math.max(pattern.lastIndexOf('*'), pattern.lastIndexOf('?'))
  const [head, middle, tail] = [pattern.slice(0, first), pattern.slice(first, last + 1), pattern.slice(last + 1)]
  const shortest = head.length + tail.length
  const framed: Matcher = (name) => name.length >= shortest && name.startsWith(head) && name.endsWith(tail)
  if (/^\*+$/.test(middle)) return framed
  const walk = automaton(pattern)
  return (name) => framed(name) && walk(name)
}

/** Whether a glob is one that every name fits. */
export function fitsAll (pattern: string): boolean {
  return /^\*+$/.test(pattern)
}

/**
 * Follows all the ways of reading a name at once, one bit for each place in the pattern (Baeza-Yates & Gonnet, "A new
 * approach to text searching"): bit n is set where the first n characters of the pattern, stars aside, have been met.
 */
function automaton (pattern: string): Matcher {
  const characters: string[] = []
  const stars: number[] = []
  for (const character of pattern) {
    if (character === '*') stars.push(characters.length)
    else characters.push(character)
  }
  const end = characters.length
  const words = (end >> 5) + 1
  const stay = bits(words, stars)
  const any = bits(words, characters.flatMap((character, place) => character === '?' ? [place] : []))
  const steps = new Map<string, Uint32Array>()
  characters.forEach((character, place) => {
    const step = steps.get(character) ?? any.slice()
    setBit(step, place)
    steps.set(character, step)
  })

  return (name) => {
    const places = bits(words, [0])
    for (const character of name) {
      const step = steps.get(character) ?? any
      let carry = 0
      for (let word = 0; word < words; word++) {
        const there = places[word] as number
        const moved = there & (step[word] as number)
        places[word] = moved << 1 | carry | (there & (stay[word] as number))
        carry = moved >>> 31
      }
    }
    return (((places[end >> 5] as number) >>> (end & 31)) & 1) === 1
  }
}

function bits (words: number, set: readonly number[]): Uint32Array {
  const all = new Uint32Array(words)
  for (const bit of set) setBit(all, bit)
  return all
}

function setBit (all: Uint32Array, bit: number): void {
  all[bit >> 5] = (all[bit >> 5] as number) | 1 << (bit & 31)
}
