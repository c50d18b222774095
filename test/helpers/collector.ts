import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import protobuf from 'protobufjs'
import type { Test } from 'tap'
import { eventually } from './peers.js'

export interface CollectedSpan {
  readonly traceId: string
  readonly spanId: string
  /** Empty: it has none. */
  readonly parentSpanId: string
  readonly traceState: string
  readonly name: string
  /** 1 internal, 2 server, 3 client. */
  readonly kind: number
  /** Nanoseconds since the epoch. */
  readonly start: bigint
  readonly end: bigint
  readonly attributes: Readonly<Record<string, string | number | boolean>>
  readonly failed: boolean
  readonly resource: Readonly<Record<string, string | number | boolean>>
}

export interface Collector {
  readonly origin: string
  readonly spans: CollectedSpan[]
  /** What it answers from now on. */
  status: number
  /** Requests so far. */
  requests: number
  /** Resolves with all spans once there are so many of that name. */
  until (name: string, count?: number): Promise<CollectedSpan[]>
  /** All that it was ever sent, as text. */
  text (): string
}

/** Of opentelemetry/proto/collector/trace/v1/trace_service.proto what the tests read. */
const { root } = protobuf.parse(`
syntax = "proto3";
message ExportTraceServiceRequest { repeated ResourceSpans resource_spans = 1; }
message ResourceSpans { Resource resource = 1; repeated ScopeSpans scope_spans = 2; }
message Resource { repeated KeyValue attributes = 1; }
message ScopeSpans { repeated Span spans = 2; }
message Span {
  bytes trace_id = 1; bytes span_id = 2; string trace_state = 3; bytes parent_span_id = 4; string name = 5; int32 kind = 6;
  fixed64 start_time_unix_nano = 7; fixed64 end_time_unix_nano = 8; repeated KeyValue attributes = 9; Status status = 15;
}
message Status { string message = 2; int32 code = 3; }
message KeyValue { string key = 1; AnyValue value = 2; }
message AnyValue { oneof value { string string_value = 1; bool bool_value = 2; int64 int_value = 3; double double_value = 4; } }
`)
const Request = root.lookupType('ExportTraceServiceRequest')

interface RawKeyValue { readonly key: string, readonly value: Readonly<Record<string, string | number | boolean>> }
interface RawSpan { traceId: string, spanId: string, parentSpanId?: string, traceState?: string, name: string, kind: number, startTimeUnixNano: string, endTimeUnixNano: string, attributes?: RawKeyValue[], status?: { code?: number } }
interface RawRequest { resourceSpans: Array<{ resource: { attributes: RawKeyValue[] }, scopeSpans: Array<{ spans: RawSpan[] }> }> }

/** An OpenTelemetry collector as far as traces by OTLP over HTTP go. */
export async function startCollector (t: Test): Promise<Collector> {
  const bodies: Buffer[] = []
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      collector.requests++
      const good = collector.status === 200 && request.url === '/v1/traces' && request.headers['content-type'] === 'application/x-protobuf'
      if (good) {
        bodies.push(Buffer.concat(chunks))
        collector.spans.push(...spansOf(Buffer.concat(chunks)))
      }
      response.writeHead(good ? 200 : collector.status === 200 ? 400 : collector.status, { 'content-type': 'application/x-protobuf' }).end()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => { server.closeAllConnections(); server.close() })
  const collector: Collector = {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans: [],
    status: 200,
    requests: 0,
    async until (name, count = 1) {
      await eventually(() => collector.spans.filter((span) => span.name === name).length >= count, `${count} spans "${name}"`)
      return collector.spans
    },
    text: () => Buffer.concat(bodies).toString('latin1'),
  }
  return collector
}

function spansOf (body: Buffer): CollectedSpan[] {
  const { resourceSpans } = Request.toObject(Request.decode(body), { longs: String, bytes: (bytes: Uint8Array) => bytes } as never) as RawRequest
  const hex = (bytes: unknown): string => Buffer.from((bytes ?? '') as Uint8Array).toString('hex')
  return resourceSpans.flatMap(({ resource, scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans.map((span) => ({
    traceId: hex(span.traceId),
    spanId: hex(span.spanId),
    parentSpanId: hex(span.parentSpanId),
    traceState: span.traceState ?? '',
    name: span.name,
    kind: span.kind,
    start: BigInt(span.startTimeUnixNano),
    end: BigInt(span.endTimeUnixNano),
    attributes: valuesOf(span.attributes),
    failed: span.status?.code === 2,
    resource: valuesOf(resource.attributes),
  }))))
}

function valuesOf (attributes: readonly RawKeyValue[] = []): Record<string, string | number | boolean> {
  return Object.fromEntries(attributes.map(({ key, value }) => {
    const [kind, given] = Object.entries(value)[0] as [string, string | number | boolean]
    return [key, kind === 'intValue' ? Number(given) : given]
  }))
}
