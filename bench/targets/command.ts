import { spawnSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

/** Where a command is, looking in PATH and in the system's own folders, which an ordinary user's PATH may lack. */
export function findCommand (name: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin']
  return folders.filter(Boolean).map(folder => join(folder, name)).find(executable)
}

/** The first line that it prints, on either output. */
export function firstLine (command: string, args: string[]): string {
  const { stdout, stderr } = spawnSync(command, args, { encoding: 'utf8', timeout: 5000 })
  return `${stdout}${stderr}`.trim().split('\n')[0] ?? ''
}

function executable (path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
