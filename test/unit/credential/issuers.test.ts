import t, { type Test } from 'tap'
import { Issuers } from '../../../src/credential/grants/issuers.js'
import { manualClock } from '../../helpers/manual-clock.js'
import { startTokenServer } from '../../helpers/tokens.js'

/** An issuer, and how often it was asked who it is. */
async function startIssuer (t: Test, { fails = 0 } = {}) {
  let asked = 0
  const server = await startTokenServer(t, ({ path }) => {
    if (path !== '/.well-known/oauth-authorization-server') return { status: 404 }
    return ++asked <= fails ? { status: 503 } : { body: { issuer: server.origin, token_endpoint: server.endpoint, nth: asked } }
  })
  return { issuer: new URL(server.origin), asked: () => asked }
}

t.test('an issuer is asked once by all who need it, at the same time or soon after', async (t) => {
  const [one, other] = [await startIssuer(t), await startIssuer(t)]
  const clock = manualClock()
  const issuers = new Issuers(clock)
  const told = await Promise.all([one, one, other, one].map(async ({ issuer }) => await issuers.metadataOf(issuer)))
  t.same(told.map(({ issuer }) => new URL(issuer)), [one.issuer, one.issuer, other.issuer, one.issuer])
  await clock.advance(599_999)
  await issuers.metadataOf(one.issuer)
  t.same([one.asked(), other.asked()], [1, 1])
  await clock.advance(1)
  t.match(await issuers.metadataOf(one.issuer), { nth: 2 }, 'and not for ever')
})

t.test('a failure is told to those who wait for it, and to nobody after them', async (t) => {
  const { issuer, asked } = await startIssuer(t, { fails: 1 })
  const issuers = new Issuers(manualClock())
  const waiting = [issuers.metadataOf(issuer), issuers.metadataOf(issuer)]
  for (const told of waiting) await t.rejects(told, { name: 'GrantError', message: /could not be discovered/ })
  t.equal(asked(), 1)
  t.match(await issuers.metadataOf(issuer), { nth: 2 })
})

t.test('what has proved wrong is forgotten, and not what somebody was told since', async (t) => {
  const { issuer } = await startIssuer(t)
  const issuers = new Issuers(manualClock())
  const wrong = issuers.metadataOf(issuer)
  await wrong
  issuers.forget(issuer, wrong)
  t.match(await issuers.metadataOf(issuer), { nth: 2 })
  issuers.forget(issuer, wrong)
  t.match(await issuers.metadataOf(issuer), { nth: 2 })
})
