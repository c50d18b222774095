import { diag, DiagLogLevel } from '@opentelemetry/api'
import { ExportResultCode, type ExportResult } from '@opentelemetry/core'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto'
import { defaultResource, detectResources, envDetector, resourceFromAttributes } from '@opentelemetry/resources'
import { BasicTracerProvider, BatchSpanProcessor, type ReadableSpan, type SpanExporter } from '@opentelemetry/sdk-trace-base'
import { VERSION } from '../version.js'
import { tracingBy } from './traces.js'
import type { Tracing } from './tracing.js'

/** Milliseconds for which the end of the process waits for the last spans. */
const LAST_CHANCE = 2_000

export interface OpenTracing extends Tracing {
  /** Sends what has not been sent, if that is possible soon. */
  close (): Promise<void>
}

/**
 * Sends spans to an OpenTelemetry collector by OTLP over HTTP, in batches, of which a few wait at most. Its settings are
 * those of the OpenTelemetry SDK, which reads them from the environment.
 * @param origin of the collector that is named there, for people
 * @param warn told once each time that spans cannot be sent any more
 */
export function openTracing (origin: string, warn: (reason: string) => void): OpenTracing {
  // Only now does it say which of its variables it cannot use.
  diag.setLogger({ error: warn, warn, info () {}, debug () {}, verbose () {} }, DiagLogLevel.WARN)
  const resource = resourceFromAttributes({ 'service.name': 'mcp-valet', 'service.version': VERSION })
  const provider = new BasicTracerProvider({
    resource: defaultResource().merge(resource).merge(detectResources({ detectors: [envDetector] })),
    spanProcessors: [new BatchSpanProcessor(new Watched(new OTLPTraceExporter(), origin, warn))],
  })
  diag.disable()
  return {
    ...tracingBy(provider.getTracer('mcp-valet', VERSION)),
    async close () {
      let timer: NodeJS.Timeout | undefined
      const late = new Promise<void>((resolve) => { timer = setTimeout(resolve, LAST_CHANCE) })
      await Promise.race([provider.shutdown().catch(() => {}), late])
      clearTimeout(timer)
    },
  }
}

/** Says when spans begin to be lost, and not again before some have arrived. */
class Watched implements SpanExporter {
  readonly #exporter: SpanExporter
  readonly #origin: string
  readonly #warn: (reason: string) => void
  #failing = false

  constructor (exporter: SpanExporter, origin: string, warn: (reason: string) => void) {
    this.#exporter = exporter
    this.#origin = origin
    this.#warn = warn
  }

  export (spans: ReadableSpan[], done: (result: ExportResult) => void): void {
    this.#exporter.export(spans, (result) => {
      const failed = result.code === ExportResultCode.FAILED
      if (failed && !this.#failing) this.#warn(`traces cannot be sent to ${this.#origin} (${reasonOf(result.error)}): spans are dropped until they can, and calls go on`)
      this.#failing = failed
      done(result)
    })
  }

  async forceFlush (): Promise<void> {
    await this.#exporter.forceFlush?.()
  }

  async shutdown (): Promise<void> {
    await this.#exporter.shutdown()
  }
}

/** A status or a code; a message may quote what the collector sent. */
function reasonOf (error: (Error & { code?: unknown }) | undefined): string {
  const code = error?.code
  if (typeof code === 'number') return `it answered ${code}`
  return typeof code === 'string' ? code : 'no answer in time'
}
