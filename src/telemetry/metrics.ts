import { STATUS_CODES } from 'node:http'
import { Counter, Gauge, Histogram, Registry, type Metric } from 'prom-client'
import { ERRORS } from '../errors.js'
import { CATALOGUE, type LabelOf, type MetricName } from './catalogue.js'
import type { CallEvent, CredentialCensus, ReloadCause, ValetEvent } from './events.js'
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
  begin(series)
  return {
    observe: (event) => record(series, event),
    know (upstreams) {
      for (const upstream of upstreams) beginUpstream(series, upstream)
    },
    async expose () {
      takeCensus(series, census())
      return { type: registry.contentType, text: await registry.metrics() }
    },
    figures: async () => await figuresOf(series, census()),
  }
}

type Series = ReturnType<typeof createSeries>

/** Codes of `failed` events: what the sidecar answers through no fault of the agent, but for its own faults. */
const FAILURES = Object.entries(ERRORS).filter(([code, { status }]) => status >= 500 && code !== 'ERR_INTERNAL').map(([code]) => code)

function createSeries (registry: Registry) {
  const described = <N extends MetricName>(name: N) =>
    ({ name: `mcp_valet_${name}`, help: CATALOGUE[name].help, labelNames: CATALOGUE[name].labels as ReadonlyArray<LabelOf<N>>, registers: [registry] })
  const counter = <N extends MetricName>(name: N): Counter<LabelOf<N>> => new Counter(described(name))
  const gauge = <N extends MetricName>(name: N): Gauge<LabelOf<N>> => new Gauge(described(name))
  const fast = <N extends MetricName>(name: N, buckets: number[]): FastHistogram<LabelOf<N>> => {
    const metric = new FastHistogram<LabelOf<N>>(`mcp_valet_${name}`, CATALOGUE[name].help, buckets)
    registry.registerMetric(metric as unknown as Metric)
    return metric
  }
  return {
    requests: counter('requests_total'),
    duration: fast('request_duration_seconds', CALL_BUCKETS),
    overhead: fast('overhead_seconds', OVERHEAD_BUCKETS),
    upstreamDuration: fast('upstream_duration_seconds', CALL_BUCKETS),
    refreshes: counter('token_refresh_total'),
    refreshDuration: new Histogram({ ...described('token_refresh_duration_seconds'), buckets: CALL_BUCKETS }),
    replays: counter('replays_total'),
    rejections: counter('upstream_rejections_total'),
    anonymous: counter('anonymous_total'),
    denied: counter('denied_total'),
    failed: counter('failed_total'),
    internalErrors: counter('internal_errors_total'),
    stateFailures: counter('state_failures_total'),
    credentials: gauge('credentials'),
    expiry: gauge('credential_expiry_seconds'),
    streams: gauge('streams'),
    reloads: counter('config_reloads_total'),
    lastReload: gauge('config_last_reload_successful'),
    ready: gauge('ready'),
    buildInfo: gauge('build_info'),
  }
}

/** There from the start, so that `increase` can tell the first one. */
function begin (series: Series): void {
  for (const outcome of ['ok', 'refused']) series.reloads.inc({ outcome }, 0)
  for (const cause of ['config', 'secrets']) series.lastReload.set({ cause }, 1)
}

/** As `begin`, for what is counted by upstream. */
function beginUpstream (series: Series, upstream: string): void {
  series.streams.inc({ upstream }, 0)
  series.stateFailures.inc({ upstream }, 0)
  for (const code of FAILURES) series.failed.inc({ upstream, code }, 0)
}

function record (series: Series, event: ValetEvent): void {
  switch (event.event) {
    case 'call': return recordCall(series, event)
    case 'denied': return series.denied.inc({ reason: event.code === undefined ? event.reason : event.code })
    case 'anonymous': return series.anonymous.inc({ upstream: event.upstream, reason: event.reason })
    case 'rejected': return series.rejections.inc({ upstream: event.upstream, status: event.status })
    case 'replayed': return series.replays.inc({ upstream: event.upstream, status: event.status, outcome: event.outcome })
    case 'failed': return series.failed.inc({ upstream: event.upstream, code: event.code })
    case 'state_failed': return series.stateFailures.inc({ upstream: event.upstream })
    case 'internal_error': return series.internalErrors.inc()
    case 'listening': return series.ready.set(1)
    case 'stopping': return series.ready.set(0)
    case 'reloaded': return recordReload(series, event.cause, true)
    case 'reload_refused': return recordReload(series, event.cause, false)
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

/** A config that was taken up has had its secrets read with it; secrets that were say nothing of the config's file. */
function recordReload (series: Series, cause: ReloadCause, ok: boolean): void {
  series.reloads.inc({ outcome: ok ? 'ok' : 'refused' })
  series.lastReload.set({ cause }, ok ? 1 : 0)
  if (ok && cause === 'config') series.lastReload.set({ cause: 'secrets' }, 1)
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
