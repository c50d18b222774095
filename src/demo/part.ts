import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { readListen } from '../config/listen.js'
import { parsePositiveDuration } from '../config/units.js'
import { advice } from './demo.js'
import { CLIENTS, handOut, put, SUBJECTS } from './hand-out.js'

/** What the demo is made of beside the sidecar, each fit to be a container of its own. */
export const PARTS = ['secrets', 'issuer', 'server', 'agent'] as const
export type PartName = typeof PARTS[number]

/** Told in the log, one JSON object a line; never holds a token, a key or a secret. */
export type Say = (line: { readonly event: string, readonly [field: string]: unknown }) => void

export interface PartOptions {
  readonly env: NodeJS.ProcessEnv
  readonly signal: AbortSignal
  readonly write?: (text: string) => void
}

/**
 * Runs one part of the demo until `signal` aborts; `secrets` ends by itself. Each is told by `DEMO_…` variables where the
 * others are, as `docker-compose.yml` sets them.
 * @returns the exit code; 1 with a line that says why
 */
export async function runPart (name: PartName, options: PartOptions): Promise<0 | 1> {
  const { env, signal, write = (text) => { process.stdout.write(text) } } = options
  const say: Say = ({ event, ...rest }) => write(JSON.stringify({ time: new Date().toISOString(), event, ...rest }) + '\n')
  try {
    const close = await starters[name](settings(env), say, signal)
    if (close === undefined) return 0
    if (!signal.aborted) await once(signal, 'abort')
    await close()
    say({ event: 'stopped' })
    return 0
  } catch (error) {
    say({ event: 'failed', reason: error instanceof SettingError ? error.message : advice(error) })
    return 1
  }
}

type Close = () => Promise<void>
const starters: Readonly<Record<PartName, (given: Settings, say: Say, signal: AbortSignal) => Promise<Close | undefined>>> = {
  async secrets ({ text }, say) {
    say({ event: 'secrets', made: await handOut(text('DEMO_FOLDER')) })
    return undefined
  },

  async issuer ({ text, where, seconds }, say) {
    const { createIssuer } = await import('./issuer.js')
    const folder = join(text('DEMO_FOLDER'), 'valet')
    const clients = await Promise.all(CLIENTS.map(async (id) => ({ id, secret: await readFile(join(folder, `${id}_client_secret`), 'utf8') })))
    const issuer = await createIssuer({
      ...where(),
      url: text('DEMO_ISSUER'),
      audience: text('DEMO_SERVER'),
      lifetime: seconds('DEMO_LIFETIME'),
      clients,
      onTokenRequest: async (_params, next) => {
        const answer = await next()
        if (answer.status !== 200) say({ event: 'token_refused', status: answer.status, error: (answer.body as { error: string }).error })
        return answer
      },
    })
    // Whoever starts anew has forgotten its logins, so there are new ones.
    for (const subject of SUBJECTS) await put(join(folder, `${subject}_refresh_token`), (await issuer.login(subject)).refresh_token)
    say({ event: 'listening', url: issuer.url })
    return issuer.close
  },

  async server ({ text, where }, say) {
    const { createDemoMcpServer } = await import('./mcp-server.js')
    const issuer = text('DEMO_ISSUER')
    const server = await createDemoMcpServer({
      ...where(),
      url: text('DEMO_SERVER'),
      issuer,
      jwks: `${issuer}/jwks`,
      onRefused: (reason) => say({ event: 'refused', status: 401, reason }),
    })
    say({ event: 'listening', url: server.url })
    return server.close
  },

  async agent ({ text, optional, milliseconds }, say, signal) {
    const { callSteadily } = await import('./steady-agent.js')
    const key = (await readFile(text('DEMO_KEY_FILE'), 'utf8')).trim()
    await callSteadily({ endpoint: text('DEMO_URL'), key, every: milliseconds('DEMO_EVERY'), heartbeat: optional('DEMO_HEARTBEAT'), say, signal })
    return undefined
  },
}

class SettingError extends Error {}
type Settings = ReturnType<typeof settings>

/** Variables of a container, read as the config's values are. */
function settings (env: NodeJS.ProcessEnv) {
  const optional = (name: string): string | undefined => env[name] === '' ? undefined : env[name]
  const text = (name: string): string => {
    const value = optional(name)
    if (value === undefined) throw new SettingError(`${name} is not set: docker-compose.yml shows what this part of the demo needs`)
    return value
  }
  const read = <T> (name: string, parse: (text: string) => T): T => {
    try {
      return parse(text(name))
    } catch (error) {
      throw error instanceof SettingError ? error : new SettingError(`${name}: ${(error as Error).message}`)
    }
  }
  return {
    text,
    optional,
    milliseconds: (name: string) => read(name, parsePositiveDuration),
    seconds: (name: string) => Math.ceil(read(name, parsePositiveDuration) / 1000),
    where: () => read('DEMO_LISTEN', (value) => {
      const listen = readListen(value)
      if ('socket' in listen) throw new SettingError('DEMO_LISTEN: expected host:port')
      return listen
    }),
  }
}
