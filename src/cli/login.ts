import { systemClock } from '../clock.js'
import { ConfigError, loadConfigFile } from '../config/load.js'
import { renderProblems, ValueError } from '../config/problem.js'
import { SecretRefError } from '../config/secret-ref.js'
import { formatDuration, parsePositiveDuration } from '../config/units.js'
import { login, type LoggedIn, type Person } from '../login/login.js'
import { planOf, type LoginFlags, type Plan } from '../login/plan.js'
import { LoginError } from '../login/problem.js'
import { StateError } from '../state/store.js'
import type { TargetOptions } from './admin-target.js'
import { askPerson } from './ask-person.js'
import { openBrowser } from './browser.js'
import { openKeeper } from './login-keeper.js'
import { printable, printableJson } from './printable.js'
import type { Terminal } from './terminal.js'
import { relative } from './when.js'

export interface LoginVerbOptions extends LoginFlags, TargetOptions {
  readonly redirectPort?: string
  /** False with --no-browser. */
  readonly browser: boolean
  readonly timeout: string
  readonly yes?: true
  readonly json?: true
  readonly stop: AbortSignal
}

const NO_REFRESH_TOKEN = 'the issuer gave no refresh token. When the access token ends, somebody must log in again. Let this client have refresh tokens at the issuer, or ask with --scope for what it gives them for, often offline_access.'

/**
 * `mcp-valet login`: what happens is told on standard error, what came of it on standard output. No token is on either.
 * @returns the exit code
 */
export async function runLogin (options: LoginVerbOptions, terminal: Terminal): Promise<0 | 1> {
  try {
    const [timeoutMs, redirectPort] = [timeoutOf(options.timeout), portOf(options.redirectPort)]
    const config = await loadConfigFile(options.config, options.env)
    const plan = planOf(config, options)
    const warn = (what: string): void => { terminal.err(`${terminal.palette.warm('warning')}: ${what}\n`) }
    const keeper = await openKeeper(config, options, systemClock, warn)
    try {
      const person = personOf(options, plan, timeoutMs, terminal)
      if (plan.replaces !== undefined) person.tell(`Note: from then on this login counts for ${printable(plan.principal)} at ${plan.upstream.name}, and not the ${plan.replaces} of the config.`)
      const result = await login(plan, { clock: systemClock, person, save: keeper.save, stop: options.stop, redirectPort, timeoutMs })
      if (!result.refreshToken) warn(NO_REFRESH_TOKEN)
      if (result.secretExpiresAt !== undefined) warn(secretEnds(new Date(result.secretExpiresAt).toISOString()))
      terminal.out(options.json === true ? asJson(plan, result, keeper.where, terminal) : asText(plan, result, keeper.where))
      return 0
    } finally {
      await keeper.close()
    }
  } catch (error) {
    terminal.err(`${terminal.palette.bad('error')}: ${sentenceOf(error, options.config)}\n`)
    return 1
  }
}

function secretEnds (date: string): string {
  return `the client that the issuer registered has a secret that ends at ${date} (${relative(date, systemClock.now())}). From then on nothing is renewed: log in again before, with a client that is registered anew.`
}

function timeoutOf (text: string): number {
  try {
    return parsePositiveDuration(text)
  } catch (error) {
    if (error instanceof ValueError) throw new LoginError(`--timeout: ${error.message}`)
    throw error
  }
}

function portOf (text: string | undefined): number {
  if (text === undefined) return 0
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0
  if (port >= 1 && port <= 65_535) return port
  throw new LoginError('--redirect-port: expected a port from 1 to 65535')
}

function personOf (options: LoginVerbOptions, { principal }: Plan, timeoutMs: number, { err, palette: { strong } }: Terminal): Person {
  const tell = (line: string): void => { err(`${line}\n`) }
  return {
    tell,
    async agree (question) {
      if (options.yes === true) return true
      if (!process.stdin.isTTY) throw new LoginError('there is no terminal to ask at: look at the address above, and pass --yes if it is right, or name it with --issuer or in the config')
      return await askPerson(question, { input: process.stdin, output: process.stderr, stop: options.stop })
    },
    visit (address, port) {
      const remote = options.env.SSH_CONNECTION
      tell(`\nOpen this page in a browser to log in as ${printable(principal)}:\n\n  ${strong(address.href)}\n`)
      if (remote !== undefined) tell(`This is an SSH session: on the machine where the browser is, first forward the port that it is sent back to:\n\n  ssh -L ${port}:127.0.0.1:${port} ${serverIn(remote)}\n`)
      tell(`Waiting for up to ${formatDuration(timeoutMs)}; Ctrl-C cancels.`)
      if (options.browser && remote === undefined) openBrowser(address)
    },
  }
}

/** Where this machine is, as the SSH client reached it. @param connection `SSH_CONNECTION`: client, its port, server, its port */
function serverIn (connection: string): string {
  const [, , host = 'THIS-HOST', port = '22'] = connection.split(' ')
  return port === '22' ? host : `-p ${port} ${host}`
}

function asText ({ principal, upstream }: Plan, { expiresAt, refreshToken }: LoggedIn, where: string): string {
  const expiry = expiresAt === undefined ? 'when its token expires the issuer does not say' : `its token expires ${relative(new Date(expiresAt).toISOString(), systemClock.now())}`
  const kept = refreshToken ? `the refresh token is kept sealed ${where}` : `it is kept sealed ${where}, without a refresh token`
  return `Logged in: principal ${printable(principal)} may now be used at upstream ${upstream.name}; ${expiry}; ${kept}.
Next, a session key for an agent:
  mcp-valet session create --principal ${quotedArgument(principal)} --agent NAME
`
}

function asJson ({ principal, upstream }: Plan, result: LoggedIn, where: string, { isTerminal }: Terminal): string {
  return printableJson({
    principal,
    upstream: upstream.name,
    issuer: result.issuer,
    client_id: result.clientId,
    client_from: result.clientFrom,
    scope: result.scope ?? null,
    resource: result.resource ?? null,
    expires_at: result.expiresAt === undefined ? null : new Date(result.expiresAt).toISOString(),
    refresh_token: result.refreshToken,
    client_secret_expires_at: result.secretExpiresAt === undefined ? null : new Date(result.secretExpiresAt).toISOString(),
    kept: where,
  }, isTerminal ? 2 : undefined) + '\n'
}

function quotedArgument (text: string): string {
  return /^[\w.@+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
}

/** Words that were written for this; anything else is a fault, and its message may quote a secret. */
function sentenceOf (error: unknown, file: string): string {
  if (error instanceof ConfigError) return `the config cannot be used:\n${renderProblems(file, error.problems)}`
  if (error instanceof LoginError || error instanceof StateError || error instanceof SecretRefError) return error.message
  throw error
}
