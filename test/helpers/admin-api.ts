import type { Test } from 'tap'
import { call, type CallAnswer } from './call.js'
import { mintToken } from './mint.js'
import { startSidecar, type StartOptions, type TestSidecar } from './sidecar.js'

export interface AdminSidecar {
  readonly sidecar: TestSidecar
  /** The admin token. */
  readonly token: string
  readonly env: Record<string, string>
  /** Asks the admin API. @param path below /v1 */
  ask (method: string, path: string, body?: unknown): Promise<CallAnswer>
  /** A session key that the API has made. */
  keyFor (principal: string, more?: object): Promise<{ id: string, key: string }>
}

/** A sidecar whose admin API is on. @param yaml as for `startSidecar` */
export async function startAdmin (t: Test, yaml: string, options: StartOptions = {}): Promise<AdminSidecar> {
  const token = mintToken('admin')
  const env: Record<string, string> = Object.assign(options.env ?? {}, { VALET_ADMIN_TOKEN: token })
  const sidecar = await startSidecar(t, `listen: 127.0.0.1:0\nadmin: { listen: 127.0.0.1:0, token: { env: VALET_ADMIN_TOKEN } }\n${yaml}`, { ...options, env })
  const ask = async (method: string, path: string, body?: unknown): Promise<CallAnswer> => await call(`${sidecar.adminUrl}/v1${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
    ...(body === undefined ? { body: '' } : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  })
  return {
    sidecar,
    token,
    env,
    ask,
    async keyFor (principal, more = {}) {
      const answer = await ask('POST', '/sessions', { principal, agent: 'tester', ...more })
      t.equal(answer.status, 201, answer.body)
      return answer.json()
    },
  }
}
