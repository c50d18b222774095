/** Small statistics. Nothing is thrown away and nothing is smoothed: medians and nearest-rank quantiles. */

export function quantile (values: ArrayLike<number>, q: number): number {
  const sorted = Float64Array.from(values).sort()
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1))] ?? NaN
}

/** The middle one, or the mean of the two in the middle. */
export function median (values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const half = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2
}

/** `a / b` for each round in which both were measured. */
export function ratios (a: (number | undefined)[], b: (number | undefined)[]): number[] {
  return a.flatMap((value, round) => {
    const other = b[round]
    return value === undefined || other === undefined || other === 0 ? [] : [value / other]
  })
}

/** The median of those: what slows a whole round down cancels out. */
export function pairedRatio (a: (number | undefined)[], b: (number | undefined)[]): number | undefined {
  const all = ratios(a, b)
  return all.length === 0 ? undefined : median(all)
}

/** The items from the `n`th on, then those before it, every other time backwards: who goes first changes, and who goes after whom. */
export function inTurns<T> (items: T[], n: number): T[] {
  const first = n % Math.max(1, items.length)
  const turned = [...items.slice(first), ...items.slice(0, first)]
  return n % 2 === 0 ? turned : turned.reverse()
}
