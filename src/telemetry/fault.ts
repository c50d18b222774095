/** Where a fault is, without its message, which may quote what a caller or an upstream sent. */
export function faultOf (thrown: unknown): string {
  if (!(thrown instanceof Error)) return 'something that is no Error was thrown'
  const { stack = '', message } = thrown
  // A message may have lines that look like frames.
  const frames = stack.slice(stack.indexOf(message) + message.length).split('\n').filter((line) => line.startsWith('    at ')).slice(0, 4)
  return [thrown.name, ...frames.map((line) => line.trim())].join(' ')
}
