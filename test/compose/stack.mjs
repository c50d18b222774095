#!/usr/bin/env node
// Judges the stack of docker-compose.yml while it is up: that its agents' calls succeed over many token lifetimes, that no log
// holds an authentication error, that Prometheus sees the sidecar; and, with --faults, that one deliberate fault shows exactly
// the errors that it should, harms nobody else, and is over when it is mended.
//
//   docker compose up -d && node test/compose/stack.mjs --seconds 300 --faults
//
// $COMPOSE names another command, such as `docker-compose -p name`. Ends with 0 if all of it held, else with 1.
import { execFileSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '300' }, faults: { type: 'boolean', default: false } } })
const seconds = Number(values.seconds)
const TOKEN_LIFETIME = 15
const AGENTS = ['planner', 'nightly']
const [command, ...prefix] = (process.env.COMPOSE ?? 'docker compose').split(' ')
const compose = (...args) => execFileSync(command, [...prefix, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 2 ** 28 })

/** What a service has logged since `since` (ISO), as objects; a line that is none has no place in these logs. */
function logOf (service, since = '') {
  return compose('logs', '--no-color', '--no-log-prefix', service).split('\n')
    .filter((line) => line.startsWith('{')).map((line) => JSON.parse(line)).filter(({ time }) => time >= since)
}

const now = () => new Date().toISOString()
const lastTally = (agent, since) => logOf(agent, since).findLast(({ event }) => event === 'calls')
let held = true

function expect (what, holds, seen) {
  held &&= holds
  console.log(`${holds ? 'ok    ' : 'FAILED'} ${what}${holds ? '' : `: ${JSON.stringify(seen).slice(0, 3000)}`}`)
}

async function until (what, look, patience = 90) {
  for (const deadline = Date.now() + patience * 1000; Date.now() < deadline; await sleep(1000)) if (look()) return
  expect(`${what} within ${patience} s`, false, 'it has not happened')
}

/** Everything that tells of a call or a token that failed, in whatever log it stands. */
function troubles (since) {
  return {
    sidecar: logOf('mcp-valet', since).filter(({ level, event }) => event !== 'warning' && (level === 'warn' || level === 'error' || event === 'rejected')),
    issuer: logOf('issuer', since).filter(({ event }) => event === 'token_refused' || event === 'failed'),
    server: logOf('mcp-server', since).filter(({ event }) => event === 'refused' || event === 'failed'),
    agents: Object.fromEntries(AGENTS.map((agent) => [agent, logOf(agent, since).filter(({ event }) => event === 'call_failed' || event === 'failed')])),
  }
}

async function ask (query) {
  const answer = await fetch(`http://127.0.0.1:9090/api/v1/query?${new URLSearchParams({ query })}`)
  return Number((await answer.json()).data.result[0]?.value[1] ?? Number.NaN)
}

async function callsSucceed () {
  await until('the agents call', () => AGENTS.every((agent) => lastTally(agent) !== undefined))
  const before = Object.fromEntries(AGENTS.map((agent) => [agent, lastTally(agent)]))
  console.log(`calls for ${seconds} s …`)
  await sleep(seconds * 1000)
  for (const agent of AGENTS) {
    const { ok, failed, tokens, slowest_ms: slowest } = lastTally(agent)
    const calls = ok - before[agent].ok
    // The summaries are up to 10 s old.
    const lifetimes = Math.floor((seconds - 10) / TOKEN_LIFETIME)
    expect(`${agent}: ${calls} calls, ${failed} failed, with ${tokens - before[agent].tokens} tokens; the slowest took ${slowest} ms`, failed === 0 && calls >= seconds && tokens - before[agent].tokens >= lifetimes, { ok, failed, tokens, before: before[agent] })
  }
  const seen = troubles()
  expect('no log holds an authentication error', JSON.stringify(Object.values(seen).flat().flatMap((part) => Array.isArray(part) ? part : Object.values(part).flat())) === '[]', seen)
  expect('Prometheus has scraped the sidecar', await ask('up{job="mcp-valet"}') === 1, await ask('up{job="mcp-valet"}'))
  const counted = await ask('sum(mcp_valet_requests_total)')
  expect(`Prometheus has counted ${counted} requests`, counted > 0, counted)
  const refused = await ask('sum(mcp_valet_upstream_rejections_total) or vector(0)')
  expect('and no token that the MCP server refused', refused === 0, refused)
  const alerts = await ask('count(ALERTS{alertstate="firing"}) or vector(0)')
  expect('no alert is told', alerts === 0, alerts)
}

/** One fault: breaks, waits for its effect, judges what was told, mends, and waits until every agent calls again. */
async function fault (name, { breakIt, mend, sufferers, reasons, issuerSays }) {
  console.log(`fault: ${name}`)
  const since = now()
  breakIt()
  await until('an agent that suffers from it says so', () => sufferers.every((agent) => troubles(since).agents[agent].length > 0))
  await sleep(3000)
  const { sidecar, issuer, server, agents } = troubles(since)
  const principals = new Set(sufferers.map((agent) => agent === 'planner' ? 'alice' : 'nightly'))
  const isDue = ({ event, outcome, reason, code, principal }) => principals.has(principal) && (
    (event === 'refresh' && outcome === 'unavailable' && reasons.test(reason)) || (event === 'failed' && code === 'ERR_CREDENTIAL_UNAVAILABLE'))
  const refresh = sidecar.find(({ event }) => event === 'refresh')
  expect(`the sidecar says why (${refresh?.reason}) and whose calls fail, and nothing else`, refresh !== undefined && sidecar.some(({ event }) => event === 'failed') && sidecar.every(isDue), sidecar.filter((line) => !isDue(line)))
  expect('no token that is past its time was sent', server.length === 0, server)
  expect('the issuer says what it should', issuer.every(issuerSays) && (issuer.length > 0) === (issuerSays !== silent), issuer)
  for (const agent of AGENTS) {
    const codes = new Set(agents[agent].map(({ code }) => code))
    const suffers = sufferers.includes(agent)
    expect(`${agent} ${suffers ? 'hears ERR_CREDENTIAL_UNAVAILABLE alone' : 'feels nothing of it'}`, suffers ? codes.size === 1 && codes.has('ERR_CREDENTIAL_UNAVAILABLE') : codes.size === 0, agents[agent])
  }
  expect('the sidecar stays ready', compose('exec', '-T', 'mcp-valet', 'mcp-valet', 'health').trim() === 'ready')
  mend()
  const mended = now()
  await until('calls succeed again', () => AGENTS.every((agent) => {
    const tallies = logOf(agent, mended).filter(({ event }) => event === 'calls').slice(-2)
    return tallies.length === 2 && tallies[0].failed === tallies[1].failed && tallies[1].ok > tallies[0].ok
  }))
  console.log('       and it is over')
}

const silent = () => false
const inIssuer = (script) => compose('exec', '-T', 'issuer', 'sh', '-euc', `cd /run/demo/valet; umask 0377; ${script}`)

await callsSucceed()
if (values.faults) {
  await fault('the client secret of one principal is wrong', {
    breakIt: () => inIssuer('mv agents_client_secret right; echo wrong > wrong; mv wrong agents_client_secret'),
    mend: () => inIssuer('mv -f right agents_client_secret'),
    sufferers: ['planner'],
    reasons: /invalid_client/,
    issuerSays: ({ error }) => error === 'invalid_client',
  })
  await fault('the issuer is down', {
    breakIt: () => compose('stop', '-t', '10', 'issuer'),
    mend: () => compose('start', 'issuer'),
    sufferers: AGENTS,
    reasons: /(?:did not answer within \d+ s|cannot be reached \(\w+\))$/,
    issuerSays: silent,
  })
}
console.log(held ? 'the stack holds' : 'the stack does not hold')
process.exitCode = held ? 0 : 1
