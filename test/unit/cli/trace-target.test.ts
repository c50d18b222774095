import t from 'tap'
import { traceTarget } from '../../../src/cli/trace-target.js'

const ENDPOINT = 'OTEL_EXPORTER_OTLP_ENDPOINT'
const TRACES = 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'

t.test('nobody asks for traces unless an endpoint is named', async (t) => {
  t.equal(traceTarget({}), undefined)
  t.equal(traceTarget({ [ENDPOINT]: '', [TRACES]: ' ' }), undefined)
})

t.test('the endpoint of traces goes before that of everything, and only its origin is told', async (t) => {
  t.strictSame(traceTarget({ [ENDPOINT]: 'http://collector:4318' }), { origin: 'http://collector:4318' })
  t.strictSame(traceTarget({ [ENDPOINT]: 'http://a:1', [TRACES]: 'https://user:pass@b:2/v1/traces?key=k' }), { origin: 'https://b:2' })
})

t.test('OpenTelemetry can be turned off as everywhere', async (t) => {
  t.equal(traceTarget({ [ENDPOINT]: 'http://a', OTEL_SDK_DISABLED: 'TRUE' }), undefined)
  t.equal(traceTarget({ [ENDPOINT]: 'http://a', OTEL_TRACES_EXPORTER: 'none' }), undefined)
  t.match(traceTarget({ [ENDPOINT]: 'http://a', OTEL_SDK_DISABLED: 'false', OTEL_TRACES_EXPORTER: 'otlp' }), { origin: 'http://a' })
})

t.test('what cannot be sent to is said, with what to do and without what may be a secret', async (t) => {
  for (const value of ['collector:4317', 'grpc://a', 'not a url user:pass@']) {
    const { problem } = traceTarget({ [TRACES]: value }) as { problem: string }
    t.match(problem, `${TRACES} is no http or https URL`)
    t.notOk(problem.includes(value))
  }
  t.match(traceTarget({ [ENDPOINT]: 'http://a', OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' }), { problem: /OTEL_EXPORTER_OTLP_PROTOCOL is not http\/protobuf.*set OTEL_EXPORTER_OTLP_TRACES_PROTOCOL/ })
  t.match(traceTarget({ [ENDPOINT]: 'http://a', OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc', OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'http/protobuf' }), { origin: 'http://a' })
})
