import t from 'tap'
import { bounds } from '../../../bench/soak/bounds.js'
import { isAuthentication, judge, nameOf, type Made, type Seen } from '../../../bench/soak/explain.js'
import { CALL_FAULTS, drawCallFault, drawIssuerFault, ISSUER_FAULTS } from '../../../bench/soak/faults.js'
import { Ledger } from '../../../bench/soak/ledger.js'
import type { Results } from '../../../bench/soak/results.js'
import { byLabels, total } from '../../../bench/soak/series.js'
import { thirds } from '../../../bench/soak/thirds.js'
import type { Sample } from '../../../bench/soak/watch.js'

const fine: Seen = { status: 200, code: undefined, broken: undefined }
const nothing: Made = { fault: undefined, issuerFailed: false, revoked: false }
const coded = (code: string, status = 502): Seen => ({ status, code, broken: undefined })
const broken: Seen = { status: 200, code: undefined, broken: 'ECONNRESET' }

t.test('a call that nothing was made of must go well', async (t) => {
  t.equal(judge(fine, nothing), 'ok')
  for (const seen of [broken, coded('ERR_UPSTREAM_UNREACHABLE'), { ...fine, status: 500 }, { ...fine, status: 401 }, { ...fine, status: 0, broken: 'ECONNREFUSED' }]) t.equal(judge(seen, nothing), 'ours', nameOf(seen))
})

t.test('what a sidecar can mend explains nothing', async (t) => {
  for (const fault of ['ended_token', 'slow'] as const) {
    t.equal(judge(fine, { ...nothing, fault }), 'ok')
    for (const seen of [broken, coded('ERR_UPSTREAM_UNAUTHORIZED'), { ...fine, status: 401 }]) t.equal(judge(seen, { ...nothing, fault }), 'ours', `${fault} ${nameOf(seen)}`)
  }
})

t.test('what it cannot mend must arrive as it was made', async (t) => {
  const arrives: Partial<Record<typeof CALL_FAULTS[number], Seen>> = {
    refused_401: coded('ERR_UPSTREAM_UNAUTHORIZED'),
    refused_403: { ...fine, status: 403 },
    no_scope: { ...fine, status: 403 },
    status_500: { ...fine, status: 500 },
    status_503: { ...fine, status: 503 },
    status_429: { ...fine, status: 429 },
    reset: coded('ERR_UPSTREAM_UNREACHABLE'),
    cut: broken,
    hang: coded('ERR_UPSTREAM_TIMEOUT', 504),
  }
  for (const [fault, seen] of Object.entries(arrives) as Array<[typeof CALL_FAULTS[number], Seen]>) {
    t.equal(judge(seen, { ...nothing, fault }), 'injected', fault)
    t.equal(judge(fine, { ...nothing, fault }), 'ours', `${fault} that nobody saw`)
    t.equal(judge(coded('ERR_INTERNAL', 500), { ...nothing, fault }), 'ours', `${fault} that became another one`)
  }
  t.equal(judge(coded('ERR_UPSTREAM_UNREACHABLE'), { ...nothing, fault: 'cut' }), 'injected', 'an answer that is read before it goes on')
})

t.test('an issuer that fails explains a missing token, and nothing else', async (t) => {
  t.equal(judge(coded('ERR_CREDENTIAL_UNAVAILABLE', 503), { ...nothing, issuerFailed: true }), 'injected')
  t.equal(judge(coded('ERR_CREDENTIAL_UNAVAILABLE', 503), nothing), 'ours')
  t.equal(judge(coded('ERR_CREDENTIAL_REVOKED'), { ...nothing, issuerFailed: true }), 'ours')
  t.equal(judge(coded('ERR_CREDENTIAL_REVOKED'), { ...nothing, revoked: true }), 'injected')
  t.equal(judge(broken, { ...nothing, issuerFailed: true, revoked: true }), 'ours')
})

t.test('failures of authentication', async (t) => {
  for (const seen of [coded('ERR_CREDENTIAL_REVOKED'), coded('ERR_UPSTREAM_UNAUTHORIZED'), coded('ERR_SESSION_UNKNOWN', 401), { ...fine, status: 403 }]) t.ok(isAuthentication(seen), nameOf(seen))
  for (const seen of [coded('ERR_UPSTREAM_TIMEOUT'), { ...fine, status: 500 }, broken]) t.notOk(isAuthentication(seen), nameOf(seen))
})

t.test('every kind of fault that is drawn by chance comes up, and most calls have none', async (t) => {
  const drawn = (draw: (random: number) => string | undefined): Set<string | undefined> => new Set(Array.from({ length: 10_000 }, (_, i) => draw(i / 10_000)))
  t.strictSame(drawn(drawCallFault), new Set([...CALL_FAULTS, undefined]))
  t.strictSame(drawn(drawIssuerFault), new Set([...ISSUER_FAULTS.filter((kind) => kind !== 'issuer_outage' && kind !== 'issuer_revoked'), undefined]))
  t.equal(drawCallFault(0.9), undefined)
})

t.test('the ledger', async (t) => {
  const ledger = new Ledger(['reset'])
  const first = ledger.begin('alice', 'whoami')
  t.equal(ledger.of(first.id), first)
  ledger.note(first, 'status_500')
  t.equal(ledger.end(first, { ...fine, status: 500 }), 'injected')
  t.equal(ledger.of(first.id), undefined)
  const hidden = ledger.begin('alice', 'whoami')
  ledger.note(hidden, 'reset')
  t.equal(ledger.end(hidden, coded('ERR_UPSTREAM_UNREACHABLE')), 'ours', 'a fault that is hidden explains nothing')
  t.match(ledger.examples[0], /ERR_UPSTREAM_UNREACHABLE: whoami of alice after .* \(made: reset\)/)

  const cutOff = coded('ERR_CREDENTIAL_UNAVAILABLE', 503)
  ledger.asked('bob', 'issuer_500')
  t.equal(ledger.end(ledger.begin('bob', 'whoami'), cutOff), 'injected')
  t.equal(ledger.end(ledger.begin('carol', 'whoami'), cutOff), 'ours', 'one principal\'s trouble explains nothing of another\'s')
  const waiting = ledger.begin('bob', 'whoami')
  ledger.asked('bob', undefined)
  t.equal(ledger.end(waiting, cutOff), 'injected', 'the answer came as its patience ended')
  t.equal(ledger.end(ledger.begin('bob', 'whoami'), cutOff), 'ours', 'nor does it once the issuer has answered')

  const over = coded('ERR_CREDENTIAL_REVOKED')
  ledger.revoked('dave')
  const before = ledger.begin('dave', 'whoami')
  t.ok(ledger.isRevoked('dave'))
  ledger.restored('dave')
  t.notOk(ledger.isRevoked('dave'))
  t.equal(ledger.end(before, over), 'injected', 'begun before the new tokens came')
  await new Promise((resolve) => setTimeout(resolve, 5))
  t.equal(ledger.end(ledger.begin('dave', 'whoami'), over), 'ours')

  const operation = ledger.begin('alice', 'connect')
  ledger.note(operation, 'cut')
  t.equal(ledger.endOperation(operation, 'UND_ERR_SOCKET'), 'injected')
  t.equal(ledger.endOperation(ledger.begin('alice', 'connect'), 'UND_ERR_SOCKET'), 'ours')
  t.equal(ledger.endOperation(ledger.begin('alice', 'connect')), 'ok')
  ledger.wrong('a wrong answer', 'of alice')
  t.equal(ledger.failures.ours.get('a wrong answer'), 1)
  t.equal(ledger.open, 0)
})

/** One sample each five seconds for so many minutes. @param anon MiB at a second */
function samplesOf (minutes: number, anon: (at: number) => number, descriptors: (at: number) => number = () => 100): Sample[] {
  return Array.from({ length: minutes * 12 }, (_, i) => (i + 1) * 5).map((at) => ({
    at, anon: anon(at), descriptors: descriptors(at), rss: 150, threads: 11, calls: at, injected: 0, ours: 0, refreshes: 0, replays: 0, streams: 5, overhead: undefined, heap: undefined,
  }))
}

function resultsOf (samples: readonly Sample[], more: Partial<Results> = {}): Results {
  const start = samples[0] as Sample
  return {
    date: '',
    node: '',
    seconds: samples.at(-1)?.at ?? 0,
    early: undefined,
    refreshes: {},
    replays: {},
    overhead: undefined,
    visits: { sessions: 1, principals: 1 },
    counted: { counted: 1, resumed: 1 },
    ledger: { calls: 1000, injected: {}, injectedTotal: 0, ours: {}, oursTotal: 0, authentication: { injected: 9, ours: 0 }, made: {}, examples: [] },
    disturbances: { outages: 1, revocations: 1, reloads: 0, reloadable: false },
    silent: { seconds: 900, heardAfter: 1 },
    log: { lines: 1, secrets: 0, strange: undefined, faults: {}, errors: {} },
    start,
    samples,
    rest: { ...start, streams: 0 },
    thirds: thirds(samples),
    exitCode: 0,
    ...more,
  }
}

const failed = (results: Results): string[] => bounds(results).filter(({ verdict }) => verdict === 'FAILED').map(({ what }) => what)

t.test('a run within its bounds', async (t) => {
  t.strictSame(failed(resultsOf(samplesOf(20, () => 100))), [])
  t.strictSame(failed(resultsOf(samplesOf(20, (at) => at < 60 ? at : 100))), [], 'the warm-up is left out')
})

t.test('what a run fails for', async (t) => {
  const steady = samplesOf(20, () => 100)
  t.match(failed(resultsOf(samplesOf(20, (at) => 100 + at / 30))), [/memory/], 'memory that grows')
  t.match(failed(resultsOf(samplesOf(20, () => 100, (at) => 100 + at / 20))), [/descriptors of the last third/], 'descriptors that grow')
  t.match(failed(resultsOf(steady, { rest: { ...steady[0] as Sample, streams: 1, descriptors: 110 } })), [/descriptors at the end/, /no stream/], 'what is left behind')
  t.match(failed(resultsOf(steady, { rest: undefined })), [/descriptors at the end/, /no stream/], 'nobody there to be asked')
  t.match(failed(resultsOf(steady, { exitCode: null })), [/ended with 0/])
  t.match(failed(resultsOf(steady, { silent: { seconds: 900, heardAfter: undefined } })), [/silent/])
  const log = { lines: 9, secrets: 0, strange: undefined, faults: {}, errors: {} }
  for (const found of [{ secrets: 1 }, { strange: 'Error: …' }, { faults: { internal_error: 1 } }]) t.match(failed(resultsOf(steady, { log: { ...log, ...found } })), [/log/])
  const { ledger } = resultsOf(steady)
  t.match(failed(resultsOf(steady, { ledger: { ...ledger, oursTotal: 1 } })), [/failures/])
  t.match(failed(resultsOf(steady, { ledger: { ...ledger, authentication: { injected: 10, ours: 0 } } })), [/authentication/])
  t.match(failed(resultsOf(steady, { ledger: { ...ledger, calls: 0 } })), [/failures/, /authentication/], 'a run in which nobody called')
})

t.test('a short run is not judged by its memory', async (t) => {
  t.strictSame(failed(resultsOf(samplesOf(5, (at) => 100 + at))), [])
  t.equal(thirds(samplesOf(1, () => 1).slice(0, 4)), undefined)
})

t.test('the series of a metric', async (t) => {
  const metrics = 'x_total{a="1",b="u"} 2\nx_total{a="1",b="v"} 3\nx_total{a="2",b="u"} 4\nx_totally{a="1"} 9\ny 5\n'
  t.strictSame(byLabels(metrics, 'x_total', ['a']), { 1: 5, 2: 4 })
  t.strictSame(byLabels(metrics, 'x_total', ['b', 'a']), { 'u 1': 2, 'v 1': 3, 'u 2': 4 })
  t.equal(total(metrics, 'x_total'), 9)
  t.equal(total(metrics, 'x_total', 'a="1"'), 5)
  t.equal(total(metrics, 'y'), 5)
})
