import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'

/**
 * Makes a folder, and those above it, for their owner alone where they do not exist.
 *
 * Not by `mkdir`'s `recursive`, which never ends where one above is not there and cannot be made, as below /proc.
 * @throws what the system says
 */
export async function makeFolder (path: string): Promise<void> {
  const error = await tryMake(path)
  if (error?.code !== 'ENOENT' || dirname(path) === path) return void rethrow(error)
  await makeFolder(dirname(path))
  rethrow(await tryMake(path))
}

/** @returns why there is none now */
async function tryMake (path: string): Promise<NodeJS.ErrnoException | undefined> {
  try {
    await mkdir(path, { mode: 0o700 })
  } catch (error) {
    // That something is there, though no folder, shows when it is used as one.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') return error as NodeJS.ErrnoException
  }
}

function rethrow (error: Error | undefined): void {
  if (error !== undefined) throw error
}
