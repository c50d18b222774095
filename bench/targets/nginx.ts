import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { accepts, freePort, start, until } from '../lib/children.js'
import { SESSION_HEADER, type Setting, type Target } from './target.js'
import { firstLine, findCommand } from './command.js'

/** nginx with one worker, connections kept alive on both sides, no buffering (SSE), two fixed headers. */
export async function startNginx ({ upstream, secrets, dir }: Setting): Promise<Target | undefined> {
  const command = findCommand('nginx')
  if (command === undefined) return undefined
  const port = await freePort()
  const home = join(dir, 'nginx')
  mkdirSync(home)
  const file = join(home, 'nginx.conf')
  writeFileSync(file, config(home, port, upstream.port, secrets.token), { mode: 0o600 })
  const child = start(command, ['-p', home, '-e', 'stderr', '-c', file], join(dir, 'nginx.log'))
  await until(child, () => accepts(port))
  const version = firstLine(command, ['-v']).replace(/^.*nginx\//, '')
  return { name: 'nginx', version, port, headers: { [SESSION_HEADER]: secrets.sessionKey }, child }
}

const TEMPS = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']

// keepalive_requests is raised on both sides: its default of 1,000 would make nginx alone reconnect all the time.
const config = (home: string, port: number, upstream: number, token: string): string => `
${process.getuid?.() === 0 ? 'user root;' : ''}
daemon off;
worker_processes 1;
pid ${home}/nginx.pid;
error_log stderr error;
events { worker_connections 4096; }
http {
  access_log off;
  ${TEMPS.map(name => `${name}_temp_path ${home}/${name};`).join(' ')}
  keepalive_requests 10000000;
  upstream mcp {
    server 127.0.0.1:${upstream};
    keepalive 256;
    keepalive_requests 10000000;
  }
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://mcp;
      proxy_http_version 1.1;
      proxy_buffering off;
      proxy_set_header Connection "";
      proxy_set_header Authorization "Bearer ${token}";
      proxy_set_header X-API-KEY "${token}";
    }
  }
}
`
