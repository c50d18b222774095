/** Where a fault is, without its message, which may quote what a caller or an upstream sent. */
export function faultOf (thrown: unknown): string {
  if (!(thrown instanceof Error)) return 'something that is no Error was thrown'
  const frames = (thrown.stack ?? '').split('\n').filter((line) => line.startsWith('    at ')).slice(0, 4)
  return [thrown.name, ...frames.map((line) => line.trim())].join(' ')
}
