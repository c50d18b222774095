import fc from 'fast-check'
import t from 'tap'
import { Credential } from '../../../src/credential/credential.js'
import { expiryOfFound, expiryOfIssued, phaseOf, untilRefresh } from '../../../src/credential/lifetime.js'
import { Secret } from '../../../src/secret.js'

const NOW = 1_800_000_000_000
const PHASES = ['valid', 'expiring', 'urgent', 'dead']
const made = (obtainedAt: number, expiresAt: number | undefined): Credential => new Credential(new Secret('t'), 1, obtainedAt, expiresAt)
const jwt = (claims: object): string => `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.c2ln`
/** Milliseconds, from nothing to three centuries. */
const lifetimes = fc.oneof(fc.integer({ min: 0, max: 10_000 }), fc.integer({ min: 0, max: 1e13 }))
const chance = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })

t.test('row 18: the phases follow one another, and none is left out of order, however long a token lives', async (t) => {
  fc.assert(fc.property(lifetimes, fc.array(fc.double({ min: -0.5, max: 1.5, noNaN: true }), { minLength: 2 }), (lifetime, moments) => {
    const credential = made(NOW, NOW + lifetime)
    const ranks = moments.sort((a, b) => a - b).map((share) => PHASES.indexOf(phaseOf(credential, NOW + share * lifetime)))
    return ranks.every((rank, index) => index === 0 || rank >= (ranks[index - 1] as number))
  }))
  fc.assert(fc.property(lifetimes, (lifetime) => phaseOf(made(NOW, NOW + lifetime), NOW + lifetime) === 'dead'))
  fc.assert(fc.property(lifetimes.filter((lifetime) => lifetime > 0), (lifetime) => phaseOf(made(NOW, NOW + lifetime), NOW) === 'valid'))
  t.equal(phaseOf(made(NOW, NOW - 5_000), NOW - 6_000), 'valid', 'a lifetime below nothing has no windows')
})

t.test('row 18: the wait for a refresh is a finite number, 1 s or more, and ends before the token dies if it can', async () => {
  fc.assert(fc.property(lifetimes, fc.integer({ min: -1e13, max: 1e13 }), chance, (lifetime, since, random) => {
    const wait = untilRefresh(made(NOW, NOW + lifetime), NOW + since, random) as number
    return Number.isFinite(wait) && wait >= 1_000
  }))
  fc.assert(fc.property(fc.integer({ min: 10_000, max: 1e13 }), chance, (lifetime, random) => {
    const credential = made(NOW, NOW + lifetime)
    return ['expiring', 'valid'].includes(phaseOf(credential, NOW + (untilRefresh(credential, NOW, random) as number)))
  }))
})

t.test('row 19: without an expiry a token is valid for ever, and nothing is planned', async (t) => {
  t.equal(phaseOf(made(NOW, undefined), NOW + 1e13), 'valid')
  t.equal(untilRefresh(made(NOW, undefined), NOW, 0), undefined)
})

t.test('row 17: expiry is counted from the request, whatever either clock says', async (t) => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 1e6 }), fc.integer({ min: -1e9, max: 1e9 }), (lifetime, off) => {
    const iat = Math.floor(NOW / 1000) + off
    return expiryOfIssued(jwt({ iat, exp: iat + lifetime }), undefined, NOW) === NOW + lifetime * 1000
  }))
  const iat = NOW / 1000
  t.equal(expiryOfIssued(jwt({ iat, exp: iat + 60 }), 30, NOW), NOW + 30_000, 'the shorter one counts')
  t.equal(expiryOfIssued(jwt({ iat, exp: iat + 30 }), 60, NOW), NOW + 30_000)
  t.equal(expiryOfIssued(jwt({ exp: iat + 30 }), undefined, NOW), NOW + 30_000)
  t.equal(expiryOfIssued(jwt({ iat: iat + 60, exp: iat + 30 }), undefined, NOW), NOW + 30_000, 'an iat behind exp counts as none')
  t.equal(expiryOfIssued(jwt({ exp: iat + 30 }), 60, NOW), NOW + 60_000, 'without iat, exp is another clock\'s word')
})

t.test('row 17: where the clocks agree on the second, a token dies at its exp, as for the server that judges it', async (t) => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 1e6 }), fc.integer({ min: 0, max: 999 }), (lifetime, fraction) => {
    const iat = NOW / 1000
    return expiryOfIssued(jwt({ iat, exp: iat + lifetime }), lifetime, NOW + fraction) === (iat + lifetime) * 1000
  }))
  const iat = NOW / 1000
  t.equal(expiryOfIssued(jwt({ iat, exp: iat + 15 }), 15, NOW + 1_000), NOW + 16_000, 'a clock a second behind is no measure of this one')
})

t.test('row 19: a lifetime that is none counts as unsaid', async (t) => {
  for (const none of [undefined, 0, -1, NaN, Infinity, 1e300]) t.equal(expiryOfIssued('opaque', none, NOW), undefined, String(none))
  fc.assert(fc.property(fc.oneof(fc.double(), fc.integer()), (said) => {
    const expiry = expiryOfIssued('opaque', said, NOW)
    return expiry === undefined || (expiry >= NOW && expiry < 8.64e15)
  }))
})

t.test('a token that was found expires at its exp, and no token is a reason to throw', async (t) => {
  t.equal(expiryOfFound(jwt({ exp: 5 })), 5_000)
  for (const exp of [-1, 1e12, '5', null, undefined]) t.equal(expiryOfFound(jwt({ exp })), undefined)
  fc.assert(fc.property(fc.oneof(fc.string(), fc.array(fc.base64String()).map((parts) => parts.join('.'))), (text) => {
    const expiry = expiryOfFound(text)
    return expiry === undefined || Number.isFinite(expiry)
  }))
})
