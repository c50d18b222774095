/** The series of a counter, added up by some of their labels: `expired ok` → 3. */
export function byLabels (metrics: string, name: string, labels: readonly string[]): Record<string, number> {
  const sums: Record<string, number> = {}
  for (const [, given = '', value] of metrics.matchAll(new RegExp(`^${name}\\{([^}]*)\\} (\\S+)$`, 'gm'))) {
    const key = labels.map((label) => new RegExp(`\\b${label}="([^"]*)"`).exec(given)?.[1] ?? '').join(' ')
    sums[key] = (sums[key] ?? 0) + Number(value)
  }
  return sums
}

/** All series of a metric whose labels hold a text, added up. */
export function total (metrics: string, name: string, labels = ''): number {
  let sum = 0
  for (const [, found = '', value] of metrics.matchAll(new RegExp(`^${name}(?:\\{([^}]*)\\})? (\\S+)$`, 'gm'))) if (found.includes(labels)) sum += Number(value)
  return sum
}
