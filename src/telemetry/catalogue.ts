/**
 * The one table of what is measured: the name without its prefix `mcp_valet_` → type, labels and the sentence beside it in
 * the exposition. docs/metrics.md is made from it. A name that has been released keeps its meaning.
 */
export const CATALOGUE = {
  requests_total: { type: 'counter', labels: ['upstream', 'method', 'rpc_method', 'status', 'outcome'], help: 'Calls that got an answer, or whose agent left before' },
  request_duration_seconds: { type: 'histogram', labels: ['upstream', 'rpc_method'], help: 'From the arrival of a call to the first byte of its answer' },
  overhead_seconds: { type: 'histogram', labels: ['upstream', 'refreshed'], help: 'The part of request_duration_seconds that mcp-valet itself took: all but the wait for the upstream' },
  upstream_duration_seconds: { type: 'histogram', labels: ['upstream'], help: 'From the dispatch of an attempt to the head of the upstream\'s answer' },
  token_refresh_total: { type: 'counter', labels: ['upstream', 'type', 'trigger', 'outcome'], help: 'Attempts to renew a token' },
  token_refresh_duration_seconds: { type: 'histogram', labels: ['upstream', 'type'], help: 'How long renewing a token took' },
  replays_total: { type: 'counter', labels: ['upstream', 'status', 'outcome'], help: 'Calls sent again after the upstream refused the credential, by the status that it refused with' },
  upstream_rejections_total: { type: 'counter', labels: ['upstream', 'status'], help: 'Answers by which an upstream refused a credential' },
  anonymous_total: { type: 'counter', labels: ['upstream', 'reason'], help: 'Calls that went out without a credential, as the policy allows' },
  denied_total: { type: 'counter', labels: ['reason'], help: 'Calls that mcp-valet refused' },
  failed_total: { type: 'counter', labels: ['upstream', 'code'], help: 'Calls that could not be served through no fault of their agents, by the error code that these got' },
  internal_errors_total: { type: 'counter', labels: [], help: 'Faults in mcp-valet itself' },
  state_failures_total: { type: 'counter', labels: ['upstream'], help: 'Renewed tokens that could not be saved, so that they would be lost with the process' },
  credentials: { type: 'gauge', labels: ['upstream', 'state'], help: 'Credentials by state' },
  credential_expiry_seconds: { type: 'gauge', labels: ['upstream'], help: 'Seconds until the soonest expiry of a credential' },
  streams: { type: 'gauge', labels: ['upstream'], help: 'Open SSE streams' },
  config_reloads_total: { type: 'counter', labels: ['outcome'], help: 'Attempts to go on with another config, or with secrets that have changed' },
  config_last_reload_successful: { type: 'gauge', labels: ['cause'], help: 'Whether the latest such attempt succeeded: 1, also before the first, or 0' },
  ready: { type: 'gauge', labels: [], help: 'Whether it takes calls: 1 from when it listens until it is told to stop, else 0' },
  build_info: { type: 'gauge', labels: ['version', 'node'], help: 'Always 1' },
} as const satisfies Record<string, { type: 'counter' | 'gauge' | 'histogram', labels: readonly string[], help: string }>

type Catalogue = typeof CATALOGUE

export type MetricName = keyof Catalogue

export type LabelOf<Name extends MetricName> = Catalogue[Name]['labels'][number]
