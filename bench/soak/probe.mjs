// Loaded by `node --import` into the process that is measured: says how its heap stands, which nothing outside can see.
import { writeFileSync } from 'node:fs'
import { constants, monitorEventLoopDelay, PerformanceObserver } from 'node:perf_hooks'

const MIB = 1024 * 1024
const file = process.env.SOAK_PROBE
const delay = monitorEventLoopDelay({ resolution: 20 })
let live

delay.enable()
// What is left after a full collection is what is really held; anything else is garbage that waits.
new PerformanceObserver((list) => {
  const full = list.getEntries().some(({ detail }) => detail?.kind === constants.NODE_PERFORMANCE_GC_MAJOR)
  if (full) live = process.memoryUsage().heapUsed / MIB
}).observe({ entryTypes: ['gc'] })
setInterval(() => {
  const { heapUsed, heapTotal, external } = process.memoryUsage()
  writeFileSync(file, JSON.stringify({ used: heapUsed / MIB, total: heapTotal / MIB, external: external / MIB, live, loopDelayMs: delay.percentile(99) / 1e6 }))
  delay.reset()
}, 2_000).unref()
