/** The protocol that traces are sent by. */
const PROTOCOL = 'http/protobuf'

/**
 * Where traces go: by the variables that OpenTelemetry has for it (OpenTelemetry specification, "OpenTelemetry Protocol
 * Exporter" and "General SDK Configuration"). An empty one counts as unset.
 * @returns undefined where nobody wants any; where somebody does and they cannot be sent, why
 */
export function traceTarget (env: NodeJS.ProcessEnv): { readonly origin: string } | { readonly problem: string } | undefined {
  const setting = (name: string): [name: string, value: string] | undefined => {
    const names = [`OTEL_EXPORTER_OTLP_TRACES_${name}`, `OTEL_EXPORTER_OTLP_${name}`]
    const found = names.find((each) => (env[each] ?? '').trim() !== '')
    return found === undefined ? undefined : [found, (env[found] as string).trim()]
  }
  const endpoint = setting('ENDPOINT')
  const off = env.OTEL_SDK_DISABLED?.trim().toLowerCase() === 'true' || env.OTEL_TRACES_EXPORTER?.trim() === 'none'
  if (endpoint === undefined || off) return undefined

  const [protocolName, protocol] = setting('PROTOCOL') ?? ['', PROTOCOL]
  if (protocol !== PROTOCOL) {
    return { problem: `no traces are sent: ${protocolName} is not ${PROTOCOL}, which is what mcp-valet speaks: set OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=${PROTOCOL}, and OTEL_EXPORTER_OTLP_TRACES_ENDPOINT to where the collector takes that, such as http://127.0.0.1:4318/v1/traces` }
  }
  const [name, value] = endpoint
  const url = URL.canParse(value) ? new URL(value) : undefined
  // Without its value, which may hold a password.
  if (url === undefined || !/^https?:$/.test(url.protocol)) return { problem: `no traces are sent: ${name} is no http or https URL; it should look like http://127.0.0.1:4318` }
  return { origin: url.origin }
}
