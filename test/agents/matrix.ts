import type { Outcome } from './cell.js'
import type { McpServer } from './servers.js'
import { versionOf } from './versions.js'

const HEAD = ['client', 'server', 'MCP', 'list', 'call', 'progress', 'tool denied', 'tokens expire', '401 mended']

/** A line for whoever watches the run; a failure comes with everything that the client wrote. */
export function summary ({ cell, shown, failure }: Outcome): string {
  const who = `${cell.client.name} at the ${cell.server.name} as ${cell.principal}`
  if (shown === undefined) return `FAILED: ${who}: ${failure ?? ''}`
  return `${who}: ${shown.calls} calls in ${shown.seconds.toFixed(1)} s, ${shown.tokens.length} tokens, MCP ${shown.protocol}`
}

/** The matrix as Markdown, with nothing in it that differs from one good run to the next. */
export function matrix (outcomes: readonly Outcome[], servers: readonly McpServer[]): string {
  const rows = outcomes.map(({ cell: { client, server }, shown }) => {
    const [yes, name] = [shown === undefined ? 'FAILED' : 'yes', `${client.name} (\`${client.package}\` ${versionOf(client)})`]
    return [name, server.name, shown?.protocol ?? '', yes, yes, client.progress ? yes : 'not offered', client.unlisted ? yes : 'not listed', yes, yes]
  })
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  return [
    `Each client is the file of [examples/agents](../examples/agents) for it, as a process of its own. The servers: ${servers.map(({ name, version }) => `${name} ${version}`).join(', ')}.`,
    'They check signature, issuer, audience and expiry of tokens that live for 4 s.',
    '',
    line(HEAD), line(HEAD.map(() => '---')), ...rows.map(line),
    '',
    '- **list**, **call**: in one session of at least 10 s, every call answered, as the session\'s own principal, while agents of another called beside it',
    '- **progress**: each step of a call of 6 s was heard of, a token having expired under it; *not offered*: this client has no way to hear of it, and the call succeeded',
    '- **tool denied**: neither listed nor callable; *not listed*: this client calls nothing that was not listed',
    '- **tokens expire**: the server saw at least four tokens in the session, and the client no 401, 403 or 5xx',
    '- **401 mended**: the server took back a token that was still good, and the next call succeeded',
    '',
    'Each of them with a wrong session key: it ends with an error, and looks for no login.',
  ].join('\n')
}
