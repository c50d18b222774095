#!/usr/bin/env node
import { Argument, Command, InvalidArgumentError, Option } from 'commander'
import { closest, distance } from 'fastest-levenshtein'
import type { LoginVerbOptions } from './cli/login.js'
import { DEFAULT_CONFIG } from './cli/config-path.js'
import { hangUps } from './cli/hang-ups.js'
import { faultOf } from './telemetry/fault.js'
import { VERSION } from './version.js'

/** The only file that reads argv, and the only one that exits. Each verb's code is loaded when it is asked for. */
const program = new Command('mcp-valet')
  .description('Authenticating reverse-proxy sidecar for MCP: agents hold a session key, MCP servers get the principal\'s real ' +
    'token, refreshed ahead of its expiry, and renewed and replayed after a 401.')
  .version(VERSION)
  .showHelpAfterError('(mcp-valet --help lists the verbs)')
  .configureHelp({ subcommandTerm: (verb) => verb.options.length === 0 ? verb.name() : `${verb.name()} [options]` })
  .addHelpText('after', `
Start here:
  $ mcp-valet demo                     see it work: an issuer, an MCP server and the sidecar on this machine
  $ mcp-valet check -c my.yaml         every mistake in a config, with its line
  $ mcp-valet keygen                   a new session key for an agent
  $ mcp-valet serve -c my.yaml         run it
  $ mcp-valet status -c my.yaml        how its credentials stand, while it runs`)

/** An empty variable counts as one that is not set, as it does wherever else one is read: a compose file leaves them so. */
const fromEnv = (option: Option, name: string): Option => process.env[name] === '' ? option : option.env(name)
const configOption = (): Option => fromEnv(new Option('-c, --config <file>', 'the config'), 'MCP_VALET_CONFIG').default(DEFAULT_CONFIG)

program.command('serve', { isDefault: true })
  .description('run the sidecar (what happens without a verb)')
  // As the default verb it is handed whatever is no verb, which `serve` then would have too many arguments.
  .argument('[verb...]').usage('[options]')
  .addOption(configOption())
  .addOption(fromEnv(new Option('--log-level <level>', 'least level that is logged'), 'MCP_VALET_LOG_LEVEL').choices(['debug', 'info', 'warn', 'error']).default('info'))
  .action(async ([verb]: string[], options: { config: string, logLevel: string }) => {
    if (verb !== undefined) return unknownVerb(verb)
    const [onReload, stop] = [hangUps(), stopSignal()]
    const { serve } = await import('./cli/serve.js')
    finish(await serve({ ...options, env: process.env, stop, onReload }), stop)
  })

const adminUrlOption = (): Option => fromEnv(new Option('--admin-url <url>', 'where the admin listener is, in place of admin.listen in the config: http://host:port or unix:/path.sock'), 'MCP_VALET_ADMIN_URL')

/** The options by which a verb finds a running sidecar. */
const findingSidecar = (verb: Command): Command => verb
  .addOption(configOption())
  .addOption(adminUrlOption())
  .option('--admin-token-file <file>', 'the admin token, in place of $MCP_VALET_ADMIN_TOKEN and of admin.token in the config')

/** Those, and what it ends with. */
const aboutSidecar = (verb: Command): Command => findingSidecar(verb)
  .addHelpText('after', `
Ends with 0: done. 1: refused, or failed. 2 (status alone): a credential needs a person. 3: the sidecar cannot be reached.`)

interface SidecarOptions { config: string, adminUrl?: string, adminTokenFile?: string, json?: true }

const terminal = async () => (await import('./cli/terminal.js')).createTerminal(process, process.env)

const names = (text: string, before: readonly string[] = []): string[] => {
  const given = text.split(',').map((name) => name.trim()).filter((name) => name !== '')
  if (given.length === 0) throw new InvalidArgumentError('Expected names of tools or globs, with commas between them.')
  return [...before, ...given]
}

const session = program.command('session').description('make, list and revoke session keys of a running sidecar')

aboutSidecar(session.command('create'))
  .description('open a session for an agent, and print its key')
  .requiredOption('--principal <name>', 'on whose behalf the agent calls')
  .requiredOption('--agent <name>', 'the name of the agent')
  .option('--tools <list>', 'the tools that it may call, names or globs: search_*,whoami', names)
  .option('--deny <list>', 'tools that it may not call', names)
  .option('--ttl <duration>', 'how long it lives, such as 2h or 30d, or a number of seconds; without it it has no end')
  .option('--json', 'the API\'s answer, for scripts')
  .option('--key-only', 'print the key alone, as where standard output is no terminal')
  .action(async (options: SidecarOptions & { principal: string, agent: string, tools?: string[], deny?: string[], ttl?: string, keyOnly?: true }) => {
    const { createSession } = await import('./cli/session.js')
    finish(await createSession({ ...options, env: process.env }, await terminal()))
  })

aboutSidecar(session.command('list'))
  .description('list the sessions, without their keys')
  .option('--principal <name>', 'those of one principal')
  .option('--json', 'for scripts')
  .action(async (options: SidecarOptions & { principal?: string }) => {
    const { listSessions } = await import('./cli/session.js')
    finish(await listSessions({ ...options, env: process.env }, await terminal()))
  })

aboutSidecar(session.command('revoke'))
  .description('end sessions: the next call is refused, open streams end')
  .argument('<id...>', 'as session list and session create show them')
  .action(async (ids: string[], options: SidecarOptions) => {
    const { revokeSessions } = await import('./cli/session.js')
    finish(await revokeSessions(ids, { ...options, env: process.env }, await terminal()))
  })

aboutSidecar(program.command('status'))
  .description('upstreams and credentials of a running sidecar: state, expiry, last refresh, last error')
  .option('--json', 'for scripts')
  .option('--watch', 'look again every 2 seconds, until it is stopped')
  .action(async (options: SidecarOptions & { watch?: true }) => {
    const { status } = await import('./cli/status.js')
    const stop = options.watch === true ? stopSignal() : new AbortController().signal
    finish(await status({ ...options, env: process.env, stop }, await terminal()), stop)
  })

aboutSidecar(program.command('refresh'))
  .description('renew a credential of a running sidecar now, whatever its expiry')
  .argument('<principal>').argument('<upstream>')
  .option('--json', 'the API\'s answer, for scripts')
  .action(async (principal: string, upstream: string, options: SidecarOptions) => {
    const { refresh } = await import('./cli/refresh.js')
    finish(await refresh(principal, upstream, { ...options, env: process.env }, await terminal()))
  })

program.command('health')
  .description('ask a running sidecar whether it should get calls: the probe of a container')
  .addOption(configOption())
  .addOption(adminUrlOption())
  .option('--live', 'ask whether it is alive instead: it still is while it ends its last calls')
  .addHelpText('after', `
It needs no token, and reads nothing of the config but admin.listen, even of one with mistakes in it.
Ends with 0: yes. 1: no, or what answers is something else, or the file that -c names is not there. 3: nothing answers there.`)
  .action(async (options: { config: string, adminUrl?: string, live?: true }, verb: Command) => {
    const { health } = await import('./cli/health.js')
    finish(await health({ ...options, isNamed: verb.getOptionValueSource('config') === 'cli' }, await terminal()))
  })

program.command('demo')
  .description('see it work: token issuer, MCP server, sidecar and one real tool call; stays up')
  .addArgument(new Argument('[part]', 'one part alone, as a container of docker-compose.yml runs it').choices(['secrets', 'issuer', 'server', 'agent']))
  .option('--once', 'end after the call, with 0 if it succeeded and 1 if not')
  .action(async (part: 'secrets' | 'issuer' | 'server' | 'agent' | undefined, options: { once?: true }) => {
    const stop = stopSignal()
    if (part !== undefined) {
      const { runPart } = await import('./demo/part.js')
      return finish(await runPart(part, { env: process.env, signal: stop }), stop)
    }
    const { runDemo } = await import('./demo/demo.js')
    finish(await runDemo({ once: options.once === true, signal: stop }), stop)
  })

program.command('check')
  .description('check a config: every error with its path and line, or the effective config with secrets masked')
  .addOption(configOption())
  .option('--offline', 'leave the secrets alone: do not read variables, files and commands')
  .argument('[word...]').usage('[options]')
  .action(async ([word]: string[], options: { config: string, offline?: true }) => {
    if (word !== undefined) program.error(isConfig(word) ? `error: a config is named with -c: mcp-valet check -c ${word}` : `error: check takes no '${word}'`)
    const { check } = await import('./cli/check.js')
    finish(await check({ config: options.config, secrets: options.offline !== true, env: process.env }))
  })

program.command('schema')
  .description('print the JSON Schema of the config, for editors')
  .action(async () => {
    const { configSchemaText } = await import('./config/schema.js')
    process.stdout.write(configSchemaText())
  })

program.command('keygen')
  .description('print a new session key: give it to one agent, and to the config by a variable or a file')
  .action(async () => {
    const { mintSessionKey } = await import('./caller/session-key.js')
    process.stdout.write(mintSessionKey().reveal() + '\n')
  })

findingSidecar(program.command('login'))
  .description('log a person in at an upstream\'s authorization server (OAuth, PKCE) and keep the refresh token for a principal')
  .requiredOption('--principal <name>', 'on whose behalf agents will call')
  .requiredOption('--upstream <name>', 'where they will call')
  .option('--issuer <url>', 'the authorization server, where neither the config nor the upstream names it, or several are named')
  .option('--client-id <id>', 'a client that is registered there, or the https address of a client-id metadata document')
  .option('--scope <scopes>', 'what to ask for, with spaces between')
  .option('--redirect-port <port>', 'of the listener on 127.0.0.1 that the browser is sent back to (default: a free one)')
  .option('--no-browser', 'print the address of the login page, and open no browser')
  .option('--timeout <duration>', 'how long to wait for the person', '5m')
  .option('--yes', 'go on to the authorization server that the upstream names without asking')
  .option('--json', 'print what came of it as JSON, without tokens')
  .action(async (options: Omit<LoginVerbOptions, 'env' | 'stop'>) => {
    const { runLogin } = await import('./cli/login.js')
    const stop = stopSignal()
    finish(await runLogin({ ...options, env: process.env, stop }, await terminal()), stop)
  })

/** Aborted by the first SIGINT or SIGTERM; the second one does not wait. As PID 1 a process gets no handling of its own. */
function stopSignal (): AbortSignal {
  const controller = new AbortController()
  const stop = (): void => {
    if (controller.signal.aborted) process.exit(130)
    controller.abort()
  }
  process.on('SIGINT', stop).on('SIGTERM', stop)
  return controller.signal
}

function unknownVerb (verb: string): never {
  if (isConfig(verb)) return program.error(`error: a config is named with -c: -c ${verb}`)
  const verbs = program.commands.map((command) => command.name())
  const near = closest(verb, verbs)
  return program.error(`error: unknown verb '${verb}'${distance(verb, near) <= 2 ? `; did you mean ${near}?` : ''}`)
}

/** Whether somebody means a file, where no verb takes one. */
function isConfig (word: string): boolean {
  return /\.(?:ya?ml|json)$/i.test(word) || word.includes('/')
}

/** @param stop of a verb that people stop: then nobody is waited for who does not read */
function finish (code: number, stop = new AbortController().signal): void {
  process.exitCode = code
  // What still holds the process open then, a caller's idle connection say, is nothing worth waiting for.
  const end = (): void => { setTimeout(() => process.exit(code), 1_000).unref() }
  // Not before: a pipe takes what its reader has room for, and `session list | less` reads when somebody scrolls.
  void Promise.allSettled([process.stdout, process.stderr].map(written)).then(end)
  stop.aborted ? end() : stop.addEventListener('abort', end, { once: true })
}

/** Settles once all that was written has been read, or nobody reads any more. */
async function written (stream: NodeJS.WriteStream): Promise<void> {
  await new Promise((resolve) => { stream.write('', resolve) })
}

// Whoever reads the output may stop at any time (`demo | head -1`): what was begun is still to be ended in good order.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => { if (error.code !== 'EPIPE') throw error })
}

try {
  await program.parseAsync()
} catch (error) {
  // Nobody foresaw it, so its message may quote anything.
  process.stderr.write(`mcp-valet has failed: ${faultOf(error)}\n`)
  finish(1)
}
