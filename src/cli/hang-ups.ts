/**
 * A terminal that goes takes the sidecar along; everybody else who hangs up on a daemon wants its config read again.
 * @returns calls back for each SIGHUP from now on: for those that come while it starts, once it has
 */
export function hangUps (): (reload: () => void) => void {
  let reload: (() => void) | undefined
  let asked = false
  if (!process.stdout.isTTY) {
    process.on('SIGHUP', () => {
      asked = true
      reload?.()
    })
  }
  return (begin) => {
    reload = begin
    if (asked) begin()
  }
}
