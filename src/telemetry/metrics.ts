import { STATUS_CODES } from 'node:http'
import { Counter, Gauge, Histogram, Registry, type Metric } from 'prom-client'
import type { CallEvent, CredentialCensus, ValetEvent } from './events.js'
import { callFigures, distributionOf, type Figures } from './figures.js'
import { FastHistogram } from './histogram.js'

/** Seconds. One bucket ends at 0.1, the promise made to users; the rest begin far below it. */
const OVERHEAD_BUCKETS = [0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30]
const CALL_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120]

export interface Metrics {
  observe (event: ValetEvent): void
  /** These upstreams are in the config: their series begin at 0. */
  know (upstreams: readonly string[]): void
  /** The exposition in Prometheus' text format, and its content type. */
  expose (): Promise<{ type: string, text: string }>
  /** The same in short, for people. */
  figures (): Promise<Figures>
}

/**
 * The one place that knows prom-client: typed events in, series out. No label ever holds a principal, a key, a session or
 * a raw URL, so the number of series depends on the config alone.
 * @param census how the credentials stand, asked at each scrape
 */
export function createMetrics (version: string, census: () => readonly CredentialCensus[]): Metrics {
  const registry = new Registry()
  const series = createSeries(registry)
  series.buildInfo.set({ version, node: process.versions.node }, 1)
  // There from the start, so that an alert can tell the first one (`increase`).
  for (const outcome of ['ok', 'refused']) series.reloads.inc({ outcome }, 0)
  return {
    observe: (event) => record(series, event),
    know (upstreams) {
      for (const upstream of upstreams) series.streams.inc({ upstream }, 0)
    },
    async expose () {
      takeCensus(series, census())
      return { type: registry.contentType, text: await registry.metrics() }
    },
    figures: async () => await figuresOf(series, census()),
  }
}

type Series = ReturnType<typeof createSeries>

function createSeries (registry: Registry) {
  const options = { registers: [registry] }
  const counter = <L extends string>(name: string, help: string, labelNames: readonly L[]): Counter<L> =>
    new Counter({ name: `mcp_valet_${name}`, help, labelNames, ...options })
  const gauge = <L extends string>(name: string, help: string, labelNames: readonly L[]): Gauge<L> =>
    new Gauge({ name: `mcp_valet_${name}`, help, labelNames, ...options })
  const histogram = <L extends string>(name: string, help: string, labelNames: readonly L[], buckets: number[]): Histogram<L> =>
    new Histogram({ name: `mcp_valet_${name}`, help, labelNames, buckets, ...options })
  const fast = <L extends string>(name: string, help: string, buckets: number[]): FastHistogram<L> => {
    const metric = new FastHistogram<L>(`mcp_valet_${name}`, help, buckets)
    registry.registerMetric(metric as unknown as Metric)
    return metric
  }
  return {
    requests: counter('requests_total', 'Calls that got an answer, or whose agent left before', ['upstream', 'method', 'rpc_method', 'status', 'outcome']),
    duration: fast<'upstream' | 'rpc_method'>('request_duration_seconds', 'From the arrival of a call to the first byte of its answer', CALL_BUCKETS),
    overhead: fast<'upstream' | 'refreshed'>('overhead_seconds', 'The part of request_duration_seconds that mcp-valet itself took: all but the wait for the upstream', OVERHEAD_BUCKETS),
    upstreamDuration: fast<'upstream'>('upstream_duration_seconds', 'From the dispatch of an attempt to the head of the upstream\'s answer', CALL_BUCKETS),
    refreshes: counter('token_refresh_total', 'Attempts to renew a token', ['upstream', 'type', 'trigger', 'outcome']),
    refreshDuration: histogram('token_refresh_duration_seconds', 'How long renewing a token took', ['upstream', 'type'], CALL_BUCKETS),
    replays: counter('replays_total', 'Calls sent again after the upstream refused the credential, by the status that it refused with', ['upstream', 'status', 'outcome']),
    rejections: counter('upstream_rejections_total', 'Answers by which an upstream refused a credential', ['upstream', 'status']),
    anonymous: counter('anonymous_total', 'Calls that went out without a credential, as the policy allows', ['upstream', 'reason']),
    denied: counter('denied_total', 'Calls that mcp-valet refused', ['reason']),
    credentials: gauge('credentials', 'Credentials by state', ['upstream', 'state']),
    expiry: gauge('credential_expiry_seconds', 'Seconds until the soonest expiry of a credential', ['upstream']),
    streams: gauge('streams', 'Open SSE streams', ['upstream']),
    reloads: counter('config_reloads_total', 'Attempts to go on with another config, or with secrets that have changed', ['outcome']),
    buildInfo: gauge('build_info', 'Always 1', ['version', 'node']),
  }
}

function record (series: Series, event: ValetEvent): void {
  switch (event.event) {
    case 'call': return recordCall(series, event)
    case 'denied': return series.denied.inc({ reason: event.code === undefined ? event.reason : event.code })
    case 'anonymous': return series.anonymous.inc({ upstream: event.upstream, reason: event.reason })
    case 'rejected': return series.rejections.inc({ upstream: event.upstream, status: event.status })
    case 'replayed': return series.replays.inc({ upstream: event.upstream, status: event.status, outcome: event.outcome })
    case 'reloaded': return series.reloads.inc({ outcome: 'ok' })
    case 'reload_refused': return series.reloads.inc({ outcome: 'refused' })
    case 'stream_opened': return series.streams.inc({ upstream: event.upstream })
    case 'stream_closed': return series.streams.dec({ upstream: event.upstream })
    case 'refresh':
      series.refreshes.inc({ upstream: event.upstream, type: event.type, trigger: event.trigger, outcome: event.outcome })
      series.refreshDuration.observe({ upstream: event.upstream, type: event.type }, event.duration / 1000)
  }
}

function recordCall (series: Series, call: CallEvent): void {
  const { upstream, method, rpc_method: rpcMethod } = call
  series.requests.inc({ upstream, method, rpc_method: rpcMethod, status: statusLabel(call.status), outcome: call.outcome })
  for (const wait of call.upstream_waits) series.upstreamDuration.observe(upstream, { upstream }, wait / 1000)
  if (call.first_byte === undefined || call.overhead === undefined) return
  series.duration.observe(`${rpcMethod} ${upstream}`, { upstream, rpc_method: rpcMethod }, call.first_byte / 1000)
  series.overhead.observe(call.refreshed ? `true ${upstream}` : `false ${upstream}`, { upstream, refreshed: String(call.refreshed) }, call.overhead / 1000)
}

/** An upstream may make up hundreds of statuses; those that are registered are few. 0: the agent left first. */
function statusLabel (status: number): string {
  return status === 0 || status in STATUS_CODES ? String(status) : 'other'
}

async function figuresOf ({ requests, overhead, upstreamDuration, streams }: Series, credentials: readonly CredentialCensus[]): Promise<Figures> {
  const { values } = await overhead.get()
  const { sum, count } = distributionOf((await upstreamDuration.get()).values)
  return {
    calls: callFigures((await requests.get()).values),
    overhead: {
      plain: distributionOf(values.filter(({ labels }) => labels.refreshed === 'false')),
      refreshed: distributionOf(values.filter(({ labels }) => labels.refreshed === 'true')),
    },
    upstream: { sum, count },
    streams: (await streams.get()).values.reduce((total, { value }) => total + value, 0),
    credentials,
  }
}

function takeCensus (series: Series, census: readonly CredentialCensus[]): void {
  series.expiry.reset()
  for (const { upstream, states, soonest } of census) {
    for (const [state, count] of Object.entries(states)) series.credentials.set({ upstream, state }, count)
    if (soonest !== undefined) series.expiry.set({ upstream }, soonest)
  }
}
