import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { parse, parseAllDocuments } from 'yaml'
import { loadConfigText } from '../../src/config/load.js'
import { handOut, SUBJECTS } from '../../src/demo/hand-out.js'

const root = fileURLToPath(new URL('../../', import.meta.url))
const read = (path: string): string => readFileSync(join(root, path), 'utf8')

interface Service {
  image: string
  build?: { target: string }
  command?: string[]
  environment?: Record<string, string>
  volumes?: string[]
  tmpfs: string[]
  ports?: string[]
  secrets?: string[]
  networks?: string[]
  profiles?: string[]
  network_mode?: string
  logging: { options: Record<string, string> }
  depends_on?: Record<string, { condition: string }>
  [key: string]: unknown
}
interface Stack { services: Record<string, Service>, volumes: object, networks?: object, secrets?: Record<string, { file: string }> }

const stackOf = (path: string): Stack => parse(read(path), { merge: true }) as Stack
const STACKS = ['docker-compose.yml', 'examples/compose/docker-compose.yml']
/** Ends by itself, so nobody asks how it is. */
const ONE_SHOT = new Set(['secrets'])

for (const path of STACKS) {
  const stack = stackOf(path)
  t.test(`${path}: every service has no more rights than it needs`, async (t) => {
    for (const [name, service] of Object.entries(stack.services)) {
      t.equal(service.read_only, true, `${name} cannot write to its image`)
      t.same(service.cap_drop, ['ALL'], `${name} has no capability`)
      t.same(service.security_opt, ['no-new-privileges:true'], `${name} gains none either`)
      t.ok(service.tmpfs.some((mount) => /^\/tmp:size=\d+m,/.test(mount)), `${name} has a bounded /tmp`)
      for (const key of ['privileged', 'cap_add', 'pid', 'ipc', 'userns_mode', 'devices', 'extra_hosts', 'env_file']) t.notOk(key in service, `${name} has no ${key}`)
      t.notMatch(String(service.user ?? 'somebody'), /^(?:root|0)(?::|$)/, `${name} is not root`)
      t.match(service.network_mode ?? 'none', /^none$|^service:/, `${name} is not in the host's network`)
      for (const volume of service.volumes ?? []) {
        t.notMatch(volume, /docker\.sock|^\/|\.\./, `${name} mounts nothing of the machine: ${volume}`)
        if (volume.startsWith('.')) t.match(volume, /:ro$/, `${name} cannot change ${volume}`)
      }
    }
  })

  t.test(`${path}: nothing can be reached from other machines`, async (t) => {
    for (const [name, { ports = [] }] of Object.entries(stack.services)) {
      for (const port of ports) t.match(port, /^127\.0\.0\.1:\d+:\d+$/, `${name} publishes ${port} on loopback`)
    }
  })

  t.test(`${path}: logs are bounded, what ends is started again, and who depends on another waits until that one is well`, async (t) => {
    for (const [name, service] of Object.entries(stack.services)) {
      t.match(service.logging.options, { 'max-size': /^\d+m$/, 'max-file': /^\d+$/ }, name)
      t.equal(service.restart, ONE_SHOT.has(name) ? 'no' : 'unless-stopped', name)
      for (const [other, { condition }] of Object.entries(service.depends_on ?? {})) {
        t.ok(other in stack.services, `${name} depends on ${other}`)
        t.equal(condition, ONE_SHOT.has(other) ? 'service_completed_successfully' : 'service_healthy', `${name} waits for ${other}`)
      }
      const shared = service.network_mode?.split(':')[1]
      if (shared !== undefined) t.ok(shared in (service.depends_on ?? {}), `${name} waits for ${shared}, whose network it shares`)
    }
  })
}

const demo = stackOf('docker-compose.yml')
const services = Object.entries(demo.services)

t.test('the stack: every service that goes on has a health check, and the time to end its calls', async (t) => {
  for (const [name, service] of services) {
    if (!ONE_SHOT.has(name)) t.match(service.healthcheck, { test: Array, interval: '5s', timeout: '5s' }, name)
    t.equal(service.stop_grace_period, '45s', name)
  }
})

t.test('the stack: it is what older versions of compose understand, too', async (t) => {
  t.notOk('name' in demo || 'configs' in demo)
  const built = services.filter(([, { build }]) => build !== undefined)
  t.same(built.map(([, { image, build }]) => [image, build?.target]), [['mcp-valet-demo', 'demo'], ['mcp-valet', 'sidecar']], 'each image is built by one service')
  for (const [name, { image }] of services) t.match(image, /^mcp-valet(?:-demo)?$|^[a-z/]+:[a-z0-9.-]+$/, `${name} has an image, and a version of what is not built here`)
})

t.test('the stack: nobody is given a secret that is not theirs', async (t) => {
  const mounted = (name: string): string[] => (demo.services[name]?.volumes ?? []).filter((volume) => volume.includes('-secrets:'))
  t.same(mounted('mcp-valet'), ['valet-secrets:/run/secrets:ro'])
  for (const [name, volume] of [['planner', 'planner'], ['nightly', 'nightly'], ['scout-1', 'scout'], ['scout-2', 'scout'], ['redis', 'redis']] as const) {
    t.same(mounted(name), [`${volume}-secrets:/run/secrets:ro`], `${name} has its own alone`)
  }
  for (const name of ['prometheus', 'mcp-server']) t.same(mounted(name), [])
})

t.test('the stack: agents reach the sidecar on loopback, and what is not theirs is in a network without a way out', async (t) => {
  for (const [name, { environment, network_mode: mode }] of services.filter(([, { command }]) => command?.[1] === 'agent')) {
    t.equal(environment?.DEMO_URL, 'http://127.0.0.1:8401/demo/mcp', name)
    t.match(mode, /^service:(?:mcp-valet|replica-\d)$/, name)
  }
  t.match(demo.networks, { upstreams: { internal: true }, state: { internal: true } })
})

t.test('the stack: its configs are right, and every secret that they name is made', async (t) => {
  const folder = t.testdir()
  await handOut(folder)
  const made = new Set([...readdirSync(join(folder, 'valet')), ...SUBJECTS.map((subject) => `${subject}_refresh_token`)])
  for (const path of ['config/compose/valet.yaml', 'config/compose/replica.yaml']) {
    const config = loadConfigText(read(path), { env: {} })
    t.equal('host' in config.listen && config.listen.host, '127.0.0.1', path)
    for (const [, name = ''] of read(path).matchAll(/\/run\/secrets\/(\w+)/g)) t.ok(made.has(name), `${path}: ${name}`)
    for (const { port, hostname } of [...config.upstreams.values()].map(({ url }) => url)) {
      t.equal(demo.services[hostname]?.environment?.DEMO_LISTEN, `0.0.0.0:${port}`, `${path}: ${hostname} listens there`)
    }
  }
  t.ok(demo.services['mcp-valet']?.volumes?.includes('./config/compose/valet.yaml:/etc/mcp-valet/valet.yaml:ro'))
  t.ok(demo.services['replica-1']?.volumes?.includes('./config/compose/replica.yaml:/etc/mcp-valet/valet.yaml:ro'))
})

t.test('the stack: Prometheus scrapes the sidecar where it listens, and reads the rules beside its config', async (t) => {
  const { rule_files: rules, scrape_configs: [job] } = parse(read('config/prometheus/prometheus.yml'))
  t.same(rules, ['/etc/prometheus/rules/*.yml'])
  t.equal(job.job_name, 'mcp-valet')
  const { admin } = loadConfigText(read('config/compose/valet.yaml'), { env: {} })
  t.match(admin.listen, { host: '0.0.0.0', port: 8402 })
  t.same(job.static_configs, [{ targets: ['mcp-valet:8402'] }])
  t.ok(demo.services.prometheus?.volumes?.includes('./config/prometheus:/etc/prometheus:ro'))
  t.ok(demo.services.prometheus?.networks?.some((network) => demo.services['mcp-valet']?.networks?.includes(network)))
})

t.test('examples/compose: its config is right, and every secret that it names is given to the sidecar, the agent\'s to the agent', async (t) => {
  const { services, secrets } = stackOf('examples/compose/docker-compose.yml')
  const text = read('examples/compose/valet.yaml')
  loadConfigText(text, { env: {} })
  const named = [...text.matchAll(/\/run\/secrets\/(\w+)/g)].map(([, name]) => name as string).sort()
  t.same(services['mcp-valet']?.secrets?.sort(), named)
  t.same(Object.entries(secrets ?? {}).map(([name, { file }]) => [name, file]).sort(), named.map((name) => [name, `./secrets/${name}`]))
  t.same(services.planner?.secrets, ['planner_key'])
})

t.test('docs/containers.md: its configs are right, and its stack mounts what its own config would need', async (t) => {
  const blocks = [...read('docs/containers.md').matchAll(/^```yaml\n(.*?)^```$/gms)].map((match) => match[1] as string)
  t.equal(blocks.length, 2)
  const [stack, config] = blocks as [string, string]
  t.match(parse(stack), { services: { 'mcp-valet': { volumes: ['./valet.yaml:/etc/mcp-valet/valet.yaml:ro', 'state:/var/lib/mcp-valet'] }, planner: { network_mode: 'service:mcp-valet' } } })
  t.same(Object.keys(parse(stack).secrets).sort(), parse(stack).services['mcp-valet'].secrets.sort())
  t.match(loadConfigText(config, { env: {} }), { listen: { host: '0.0.0.0', port: 8401 }, callers: { hosts: ['mcp-valet'] } })
  for (const path of ['test/compose/stack.mjs', 'examples/compose', 'examples/kubernetes', 'CHANGELOG.md']) t.ok(existsSync(join(root, path)), path)
})

for (const file of readdirSync(join(root, 'examples/kubernetes'))) {
  t.test(`examples/kubernetes/${file}: it parses, its config is right, and its pods have no more rights than they need`, async (t) => {
    const documents = parseAllDocuments(read(`examples/kubernetes/${file}`), { merge: true })
    for (const { errors } of documents) t.same(errors, [])
    const objects: any[] = documents.map((document) => document.toJS())
    for (const { apiVersion, kind, metadata } of objects) t.ok(/^(?:v1|apps\/v1|networking\.k8s\.io\/v1)$/.test(apiVersion) && kind !== undefined && metadata.name !== undefined)
    const [config, workload] = objects
    if (config.kind !== 'ConfigMap') return
    const text: string = config.data['valet.yaml']
    const { listen, admin } = loadConfigText(text, { env: {} })
    t.match([listen, admin.listen], [{ host: '127.0.0.1' }, { host: '0.0.0.0', port: 8402 }])

    const { spec } = workload.spec.template
    const [valet] = spec.initContainers
    t.match(spec, { automountServiceAccountToken: false, securityContext: { runAsNonRoot: true, runAsUser: 10001, fsGroup: 10001 } })
    t.equal(valet.restartPolicy, 'Always', 'a native sidecar')
    for (const probe of ['startupProbe', 'readinessProbe', 'livenessProbe']) t.match(valet[probe].httpGet, { port: 'valet-admin', path: probe === 'livenessProbe' ? '/healthz' : '/readyz' })
    t.match(valet.ports, [{ name: 'valet-admin', containerPort: 8402 }])
    for (const { securityContext } of [valet, ...spec.containers]) t.match(securityContext, { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } })

    const volumes = new Map<string, object>([...spec.volumes, ...workload.spec.volumeClaimTemplates ?? []].map((volume) => [volume.name ?? volume.metadata.name, volume]))
    for (const { volumeMounts } of [valet, ...spec.containers]) for (const { name } of volumeMounts) t.ok(volumes.has(name), `there is a volume ${name}`)
    for (const { secret } of spec.volumes) if (secret !== undefined) t.equal(secret.defaultMode, 0o440, 'what everybody may read, mcp-valet refuses')
    const at = (name: string): string | undefined => valet.volumeMounts.find((mount: { name: string }) => mount.name === name)?.mountPath
    t.equal(at('valet-config'), '/etc/mcp-valet')
    for (const [, path = ''] of text.matchAll(/file: (\S+?) \}/g)) t.ok(path.startsWith(`${at('valet-secrets')}/`), path)
    t.match(text, `path: ${at('valet-state')}/`)
    for (const { volumeMounts } of spec.containers) t.notOk(volumeMounts.some(({ name }: { name: string }) => name === 'valet-secrets'), 'the agent has its session key alone')
  })
}

t.test('row 46: no file of the containers holds a secret', async (t) => {
  const folders = ['config', 'config/compose', 'config/prometheus', 'examples/compose', 'examples/kubernetes']
  const files = ['Dockerfile', 'docker-compose.yml', ...folders.flatMap((folder) => readdirSync(join(root, folder)).filter((name) => /\.ya?ml$/.test(name)).map((name) => `${folder}/${name}`))]
  for (const file of files) {
    const text = read(file)
    t.same(text.match(/(?<![\w/.-])[A-Za-z0-9+_-]{24,}={0,2}(?![\w/.-])/g)?.filter((word) => /\d/.test(word) && /[A-Za-z]/.test(word)) ?? [], [], `${file} has nothing that looks like one`)
    t.notMatch(text, /vk_[\w-]{10}|eyJ[\w-]{10}|-----BEGIN/, file)
    t.notMatch(text, /^\s*[\w-]*(?:password|secret|token|api_?key)[\w-]*: *["']?[A-Za-z0-9]{8,}["']?\s*$/im, file)
  }
  for (const [name, { environment = {} }] of services) for (const variable of Object.keys(environment)) t.notMatch(variable, /TOKEN|SECRET|PASSWORD|KEY(?!_FILE)/, `${name} is given ${variable}`)
})

t.test('the image: the sidecar is what is built unless another target is named, by nobody but a number, and asks itself how it is', async (t) => {
  const stages = read('Dockerfile').split(/^(?=FROM )/m).slice(1)
  const last = stages.at(-1) as string
  t.match(last, /^FROM base AS sidecar$/m)
  t.match(last, /^HEALTHCHECK .*CMD \["mcp-valet", "health"\]$/m)
  t.match(stages.find((stage) => stage.startsWith('FROM node:24-slim AS base')), /^USER \d+:\d+$/m)
  for (const stage of stages) {
    const users = [...stage.matchAll(/^USER (\S+)$/gm)].map((match) => match[1])
    if (users.length > 0) t.match(users.at(-1), /^[1-9]\d+:[1-9]\d+$/)
    t.notMatch(stage, /^(?:ARG|ENV) .*(?:TOKEN|SECRET|PASSWORD)/m)
    if (/npm ci/.test(stage)) for (const id of ['npmrc', 'ca']) t.match(stage, new RegExp(`type=secret,id=${id},target=\\S+,required=false`))
  }
  const [first, ...allowed] = read('.dockerignore').split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  t.equal(first, '*', 'nothing goes into the build')
  t.same(allowed.map((line) => line.replace('!', '')).sort(), ['.npmrc', 'LICENSE', 'package-lock.json', 'package.json', 'src', 'tsconfig.build.json', 'tsconfig.json'], 'but this')
})

t.test('promtool finds nothing wrong with the config of Prometheus', { skip: !existsSync('/usr/bin/promtool') }, async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'valet-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  const file = join(dir, basename('prometheus.yml'))
  writeFileSync(file, read('config/prometheus/prometheus.yml').replace('/etc/prometheus/rules', join(root, 'config/prometheus/rules')))
  t.match(execFileSync('/usr/bin/promtool', ['check', 'config', file], { encoding: 'utf8' }), 'SUCCESS')
})

t.test('examples/compose: what its head says to type makes every secret that the stack asks for, for its owner alone', async (t) => {
  const text = read('examples/compose/docker-compose.yml')
  const head = text.slice(0, text.indexOf('\nservices:'))
  const commands = [...head.matchAll(/^# {3}(\S.*)$/gm)].map((match) => match[1] as string)
  const dir = t.testdir({ bin: {} })
  // What a test may not do, and what is not there.
  writeFileSync(join(dir, 'bin/docker'), '#!/bin/sh\ncase "$1" in run) echo vk_key;; esac\n', { mode: 0o755 })
  writeFileSync(join(dir, 'bin/sudo'), '#!/bin/sh\necho "$@" >> sudo.log\n', { mode: 0o755 })
  writeFileSync(join(dir, 'bin/openssl'), '#!/bin/sh\necho random\n', { mode: 0o755 })
  execFileSync('sh', ['-euc', commands.join('\n')], { cwd: dir, timeout: 10_000, stdio: 'pipe', env: { PATH: `${join(dir, 'bin')}:${String(process.env.PATH)}`, CLIENT_SECRET: 'secret', ALICE_REFRESH_TOKEN: 'token' } })
  const asked = Object.values(stackOf('examples/compose/docker-compose.yml').secrets ?? {}).map(({ file }) => basename(file)).sort()
  t.same(readdirSync(join(dir, 'secrets')).sort(), asked)
  for (const name of asked) {
    t.equal(statSync(join(dir, 'secrets', name)).mode & 0o777, 0o600, name)
    t.not(readFileSync(join(dir, 'secrets', name), 'utf8').trim(), '', `${name} holds something`)
    t.match(readFileSync(join(dir, 'sudo.log'), 'utf8'), new RegExp(`^chown 10001 .*secrets/${name}\\b`, 'm'), `${name} is for the user that mcp-valet runs as`)
  }
})
