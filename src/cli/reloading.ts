import { systemClock, type Clock } from '../clock.js'
import { loadConfigFile } from '../config/load.js'
import type { Config } from '../config/config.js'
import { secretFiles } from '../config/secret-files.js'
import type { Sidecar } from '../sidecar.js'
import { watchFiles } from './file-watch.js'

export interface ReloadingOptions {
  readonly sidecar: Pick<Sidecar, 'reload' | 'secretsChanged'>
  readonly file: string
  readonly config: Config
  /** Reads the config again. */
  readonly load: () => Promise<Config>
  readonly clock: Clock
  readonly stop: AbortSignal
  /** Calls back whenever somebody asks for a reload (SIGHUP). */
  readonly onAsked: (reload: () => void) => void
  readonly everyMs?: number
  readonly known?: ReadonlyMap<string, string>
}

/**
 * Keeps a sidecar up with its config file and the files of its secrets: a changed config is taken up whole or not at all,
 * a changed secret without the config. What came of it is an event of the sidecar's. Never rejects.
 */
export async function keepUp ({ sidecar, file, config, load, clock, stop, onAsked, everyMs, known }: ReloadingOptions): Promise<void> {
  let secrets = secretFiles(config)

  async function reload (): Promise<void> {
    const read = async (): Promise<Config> => {
      const next = await load()
      taken = next
      return next
    }
    let taken: Config | undefined
    await sidecar.reload(read).then(() => { if (taken !== undefined) secrets = secretFiles(taken) }, () => {})
  }

  onAsked(() => { void reload().then(async () => await renew([...secrets.keys()])) })

  async function renew (paths: readonly string[]): Promise<void> {
    const sources = paths.flatMap((path) => secrets.get(path) ?? [])
    if (sources.length > 0) await sidecar.secretsChanged(sources).catch(() => {})
  }

  // What hangs, an issuer or a command that is asked for a secret, does not keep anybody from stopping.
  await Promise.race([aborted(stop), watchFiles({
    clock,
    stop,
    ...(everyMs === undefined ? {} : { everyMs }),
    ...(known === undefined ? {} : { known }),
    files: () => [file, ...secrets.keys()],
    async onChange (changed) {
      if (changed.has(file)) await reload()
      await renew([...changed].filter((path) => path !== file))
    },
  })])
}

async function aborted (signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await new Promise((resolve) => { signal.addEventListener('abort', resolve, { once: true }) })
}

/** The config of a file, as `keepUp` reads it again. */
export function loader (file: string, env: NodeJS.ProcessEnv, warn: (reason: string) => void): () => Promise<Config> {
  return async () => await loadConfigFile(file, env, { now: systemClock.now(), warn: ({ path, line, message }) => warn(`${file}:${line} ${path}: ${message}`) })
}
