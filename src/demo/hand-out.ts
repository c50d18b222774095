import { randomBytes } from 'node:crypto'
import { access, mkdir, rename, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { mintSessionKey } from '../caller/session-key.js'

/** Clients of the demo's issuer: who refreshes tokens for people, and who has a token of its own. */
export const CLIENTS = ['agents', 'nightly'] as const
/** People whom the issuer logs in when it starts. */
export const SUBJECTS = ['alice', 'bob'] as const
/** Agents that have a session key, each in a folder that it alone is given. */
const AGENTS = ['planner', 'nightly', 'scout'] as const

/**
 * Makes the secrets of a demo stack: those of the sidecar below `valet/`, an agent's session key below its name, and the
 * password of Redis below `redis/`. What is there already is kept, so that a stack that starts again goes on with it.
 * @returns how many were made
 */
export async function handOut (folder: string): Promise<number> {
  const random = (encoding: BufferEncoding): string => randomBytes(32).toString(encoding)
  let made = 0
  const keep = async (files: Readonly<Record<string, string>>): Promise<void> => {
    const paths = Object.keys(files).map((name) => join(folder, name))
    // Files that share a secret are made together: one alone would not fit what is made for the other.
    if ((await Promise.all(paths.map(isThere))).every(Boolean)) return
    for (const [name, text] of Object.entries(files)) {
      await put(join(folder, name), text, name.startsWith('redis/') ? 0o444 : 0o400)
      made++
    }
  }

  for (const client of CLIENTS) await keep({ [`valet/${client}_client_secret`]: random('base64url') })
  await keep({ 'valet/admin_token': random('hex') })
  await keep({ 'valet/state_key': random('base64') })
  for (const agent of AGENTS) {
    const key = mintSessionKey().reveal()
    await keep({ [`valet/${agent}_key`]: key, [`${agent}/session_key`]: key })
  }
  const password = random('base64url')
  await keep({ 'valet/redis_url': `redis://:${password}@redis:6379`, 'redis/redis.conf': `requirepass ${password}\n` })
  return made
}

/** Writes a file whole or not at all: others read it while it is replaced. */
export async function put (path: string, text: string, mode = 0o400): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  const temporary = `${path}.${randomBytes(4).toString('hex')}.new`
  await writeFile(temporary, text, { mode })
  await rename(temporary, path)
}

async function isThere (path: string): Promise<boolean> {
  return await access(path).then(() => true, () => false)
}
