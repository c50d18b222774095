import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { decodeSecret, MAX_SECRET_BYTES, SecretRefError } from './secret-error.js'

/**
 * Reads a secret's file. Type, mode and content come from one open file, so nobody can swap it in between; a symbolic
 * link is followed, as Kubernetes mounts secrets that way.
 * @param shared whether others may read it
 * @throws {SecretRefError}
 */
export async function readSecretFile (path: string, shared: boolean): Promise<string> {
  const file = await openFile(path)
  try {
    const stat = await file.stat()
    if (!stat.isFile()) throw new SecretRefError(`${path} is not a regular file`)
    // Windows has no such bits: Node reports 0666 for every file there.
    if (!shared && process.platform !== 'win32' && (stat.mode & 0o007) !== 0) {
      throw new SecretRefError(`${path} is open to every user of this machine: chmod o-rwx ${shellWord(path)}`)
    }
    return decodeSecret(await readAtMost(file, path), `file ${path}`)
  } catch (error) {
    throw error instanceof SecretRefError ? error : cannotRead(path, error)
  } finally {
    await file.close()
  }
}

async function openFile (path: string): Promise<FileHandle> {
  try {
    // Without O_NONBLOCK, opening a named pipe waits for somebody to write to it.
    return await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0))
  } catch (error) {
    throw cannotRead(path, error)
  }
}

async function readAtMost (file: FileHandle, path: string): Promise<Uint8Array> {
  const buffer = Buffer.alloc(MAX_SECRET_BYTES + 1)
  let length = 0
  while (length < buffer.length) {
    const { bytesRead } = await file.read(buffer, length, buffer.length - length, null)
    if (bytesRead === 0) return buffer.subarray(0, length)
    length += bytesRead
  }
  throw new SecretRefError(`${path} is larger than 64 KiB`)
}

function cannotRead (path: string, error: unknown): SecretRefError {
  const code = (error as NodeJS.ErrnoException).code
  if (code === 'ENOENT') return new SecretRefError(`there is no file ${path}`)
  if (code === 'EACCES') return new SecretRefError(`mcp-valet is not allowed to read ${path}`)
  return new SecretRefError(`${path} cannot be read (${code ?? 'unknown error'})`)
}

function shellWord (path: string): string {
  return /^[\w./@+-]+$/.test(path) ? path : `'${path.replaceAll('\'', '\'\\\'\'')}'`
}
