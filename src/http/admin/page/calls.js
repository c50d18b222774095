import { byId, name, Rows, say } from './dom.js'
import { draw } from './histogram.js'
import { digits, percent, quantile, time, together } from './reckon.js'

/** Seconds, and a share of the upstreams' time: what mcp-valet promises to stay below. */
const [TARGET, SHARE] = [0.1, 0.1]
/** Seconds; beside an upstream that is faster the share says more of it than of mcp-valet. */
const REAL = 0.01

const rows = new Rows('calls-table', (cells, { upstream, rpc_method: method, total, failed, refused, rate }) => {
  name(cells[0], upstream)
  name(cells[1], method)
  say(cells[2], rate === undefined ? '–' : digits(rate))
  say(cells[3], String(total))
  say(cells[4], String(refused))
  say(cells[5], String(failed))
  cells[5].classList.toggle('bad', failed > 0)
})

/** What is called and what it costs. @param history the looks before, this one included */
export function showFigures (figures, history) {
  say(byId('version'), figures.version)
  const ready = byId('ready')
  ready.hidden = false
  ready.className = `pill ${figures.unready.length === 0 ? 'good' : 'bad'}`
  say(ready, figures.unready.length === 0 ? 'ready' : `not ready: ${figures.unready.join(', ')}`)
  showCalls(figures, history)
  showOverhead(figures)
  say(byId('streams'), String(figures.streams))
  const states = {}
  for (const census of figures.credentials) for (const [state, count] of Object.entries(census.states)) states[state] = (states[state] ?? 0) + count
  say(byId('standing'), `credentials: ${Object.entries(states).filter(([, count]) => count > 0).map(([state, count]) => `${count} ${state}`).join(', ') || 'none'}`)
}

function showCalls (figures, history) {
  const sum = (field) => ({ calls }) => calls.reduce((total, call) => total + call[field], 0)
  const of = (field, { upstream, rpc_method: method }) => ({ calls }) => calls.find((call) => call.upstream === upstream && call.rpc_method === method)?.[field]
  const [rate, failing] = [history.rate(sum('total')), history.rate(sum('failed'))]
  const [total, failed] = [sum('total')(figures), sum('failed')(figures)]
  say(byId('rate'), rate === undefined ? '–' : digits(rate))
  say(byId('calls'), `${total} since the start`)
  say(byId('failing'), failing === undefined ? '–' : `${digits(failing)} / s`)
  byId('failing').className = failing > 0 ? 'bad' : ''
  say(byId('failed'), `${failed} since the start${total === 0 ? '' : `, ${percent(failed / total)}`}`)
  rows.show(figures.calls.map((call) => ({ ...call, rate: history.rate(of('total', call)) })).sort((a, b) => b.total - a.total), (call) => `${call.rpc_method} ${call.upstream}`)
}

function showOverhead ({ overhead, upstream }) {
  const all = together(overhead.plain, overhead.refreshed)
  const [p50, p99] = [quantile(all, 0.5), quantile(all, 0.99)]
  const share = upstream.sum > 0 ? all.sum / upstream.sum : undefined
  judge('p99', p99 === undefined ? '–' : within(p99, all), p99 >= TARGET)
  const wait = upstream.sum / Math.max(1, upstream.count)
  judge('share', share === undefined ? '–' : percent(share), share >= SHARE)
  if (wait < REAL && share >= SHARE) byId('share').className = ''
  say(byId('share-target'), wait < REAL && share !== undefined ? `upstream answers in ${time(wait)}` : 'target: below 10 %')
  say(byId('overhead-about'), p50 === undefined
    ? 'The part of a call that mcp-valet itself took. No call yet.'
    : `The part of a call that mcp-valet itself took, of ${all.count} calls since the start: p50 ${within(p50, all)}, p99 ${within(p99, all)}; on average ${time(all.sum / all.count)} beside the upstream's ${time(wait)}.`)
  draw(overhead, TARGET)
}

function within (seconds, { bounds }) {
  return seconds === Infinity ? `more than ${time(bounds.at(-1))}` : time(seconds)
}

function judge (id, text, missed) {
  say(byId(id), text)
  byId(id).className = text === '–' ? '' : missed ? 'bad' : 'good'
}
