import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import { listen, shut } from '../../src/demo/http.js'

export interface Hop {
  /** Where the suite calls: the MCP endpoint behind it. */
  readonly url: string
  close (): Promise<void>
}

/**
 * Puts headers on each request, which the suite has no way to do, and changes nothing else: Host and the spelling of
 * names stay, and every piece of an answer goes on as it comes.
 * @param target of the MCP endpoint; asked for at each request
 */
export async function startHop (target: () => string, headers: () => Promise<Record<string, string>>): Promise<Hop> {
  async function pass (req: IncomingMessage, res: ServerResponse): Promise<void> {
    const { hostname, port, pathname } = new URL(target())
    const added = Object.entries(await headers()).flat()
    const onward = httpRequest({ host: hostname, port, path: pathname, method: req.method, headers: [...endToEnd(req), ...added], agent: false }, (answer) => {
      res.writeHead(answer.statusCode as number, endToEnd(answer))
      res.flushHeaders()
      answer.on('error', () => res.destroy())
      answer.pipe(res)
    })
    onward.on('error', () => res.destroy())
    res.on('close', () => onward.destroy())
    req.pipe(onward)
  }

  const server = createServer((req, res) => { pass(req, res).catch(() => res.destroy()) })
  const origin = await listen(server, { host: '127.0.0.1', port: 0 })
  return { url: `${origin}/mcp`, close: async () => await shut(server) }
}

/** Headers as they came, without those about the connection on one side of the hop (RFC 9110 §7.6.1). */
function endToEnd ({ rawHeaders }: IncomingMessage): string[] {
  return rawHeaders.filter((_, i) => !/^(?:connection|keep-alive)$/i.test(rawHeaders[i - i % 2] as string))
}
