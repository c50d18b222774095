import type { Config, Listen, SecretRef } from '../config/config.js'
import { formatListen } from '../config/listen.js'
import { SecretRefError } from '../config/secret-ref.js'
import { ask, UnreachableError, type Asking, type Question } from './ask.js'
import type { Keeper } from './keeper.js'
import { LoginError, quoted } from './problem.js'

/** The sidecar that runs with this config; undefined where none does, or where it has no admin API. */
export async function adminKeeper ({ listen, token }: Config['admin'], stop: AbortSignal): Promise<Keeper | undefined> {
  // Nobody but the sidecar itself knows which port it was given for 0.
  if (token === undefined || ('port' in listen && listen.port === 0)) return undefined
  const [base, asking] = [baseOf(listen), { whom: `the sidecar at ${addressOf(listen)}`, stop, socketPath: 'socket' in listen ? listen.socket : undefined }]
  const send = async (path: string, question: Question, more: Partial<Asking> = {}): Promise<Response> =>
    await ask(new URL(path, base), { ...question, headers: { ...question.headers, authorization: await bearer(token) } }, { ...asking, ...more })
  try {
    await taken(await send('/v1/principals', {}), asking.whom)
  } catch (error) {
    if (error instanceof UnreachableError && !error.late) return undefined
    throw error
  }
  return {
    where: `by ${asking.whom}`,
    async save (principal, upstream, given) {
      const path = `/v1/principals/${encodeURIComponent(principal)}/credentials/${encodeURIComponent(upstream)}`
      await taken(await send(path, { method: 'PUT', headers: { 'content-type': 'application/json' }, body: JSON.stringify(given) }), asking.whom)
    },
    close: async () => {},
  }
}

async function bearer (token: SecretRef): Promise<string> {
  try {
    return `Bearer ${(await token.read()).reveal()}`
  } catch (error) {
    if (error instanceof SecretRefError) throw new LoginError(`admin.token cannot be read: ${error.message}`)
    throw error
  }
}

/** @throws {LoginError} unless the answer is that of an admin API that has done what it was asked */
async function taken (answer: Response, whom: string): Promise<void> {
  if (answer.status === 200) return
  const { code, message, details } = errorIn(await answer.json().catch(() => undefined))
  if (code === undefined) throw new LoginError(`${whom} answered HTTP ${answer.status} as no mcp-valet does: see what listens at admin.listen`)
  if (code === 'ERR_ADMIN_UNAUTHORIZED') throw new LoginError(`${whom} does not take the admin token of this config: is it running with another one?`)
  if (code === 'ERR_ADMIN_OFF') throw new LoginError(`${whom} runs without an admin API: start it again with this config, which has admin.token`)
  throw new LoginError(`${whom} did not take the login (${code}): ${[message, ...details].join(' ')}`)
}

function errorIn (body: unknown): { code: string | undefined, message: string, details: string[] } {
  const error = (body as { error?: { code?: unknown, message?: unknown, details?: unknown } } | null | undefined)?.error
  const details = Array.isArray(error?.details) ? error.details as Array<{ path?: unknown, message?: unknown } | null> : []
  return {
    code: typeof error?.code === 'string' && /^ERR_[A-Z_]{1,60}$/.test(error.code) ? error.code : undefined,
    message: quoted(String(error?.message ?? '')),
    details: details.slice(0, 5).map((detail) => quoted(`${detail?.path ?? ''}: ${detail?.message ?? ''}`)),
  }
}

function baseOf (listen: Listen): URL {
  if ('socket' in listen) return new URL('http://localhost')
  const { host, port } = listen
  // What listens on all addresses listens on the nearest one.
  const near = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host
  return new URL(`http://${formatListen({ host: near, port })}`)
}

function addressOf (listen: Listen): string {
  return 'socket' in listen ? formatListen(listen) : baseOf(listen).origin
}
