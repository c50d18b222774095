import t from 'tap'
import { effectiveConfig } from '../../../src/config/mask.js'
import { complaints, load, warningsOf, yaml } from './helpers.js'

const jwt = (rest: string): string => yaml({ top: `callers: { jwt: { ${rest} } }` })
const AT = 'callers.jwt'

t.test('callers.jwt: defaults and everything set', async (t) => {
  t.strictSame(load(jwt('issuer: "https://id.example", audience: mcp-valet')).callers.jwt, {
    issuer: 'https://id.example',
    audience: ['mcp-valet'],
    jwksUri: undefined,
    principalClaim: 'sub',
    agentClaim: undefined,
    algorithms: ['RS256', 'RS512', 'PS256', 'ES256', 'ES384', 'EdDSA'],
    clockToleranceMs: 30_000,
  })
  t.strictSame(load(jwt('issuer: my product, audience: [a, b], jwks_uri: "https://id.example/jwks", principal_claim: email, agent_claim: "https://x/agent", algorithms: [ES512], clock_tolerance: 0s')).callers.jwt, {
    issuer: 'my product',
    audience: ['a', 'b'],
    jwksUri: new URL('https://id.example/jwks'),
    principalClaim: 'email',
    agentClaim: 'https://x/agent',
    algorithms: ['ES512'],
    clockToleranceMs: 0,
  })
})

t.test('callers.jwt: the issuer stays as it is written, since the claim must be the same to the letter', async (t) => {
  for (const issuer of ['https://id.example', 'https://id.example/', 'HTTPS://ID.example:443/a/../b']) {
    t.equal(load(jwt(`issuer: "${issuer}", audience: a`)).callers.jwt?.issuer, issuer)
  }
})

t.test('callers.jwt: each mistake has its sentence', async (t) => {
  const issuer = 'issuer: "https://id.example"'
  const names = 'must be one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, Ed25519'
  const texts = 'expected a text, or a list of different ones: printable ASCII characters, without space around them'
  for (const [written, ...expected] of [
    ['{}', `${AT}.issuer: is required`, `${AT}.audience: is required`],
    [`${issuer}`, `${AT}.audience: is required`],
    [`${issuer}, audience: []`, `${AT}.audience: ${texts}`],
    [`${issuer}, audience: [a, a]`, `${AT}.audience: ${texts}`],
    [`${issuer}, audience: 5`, `${AT}.audience: ${texts}`],
    ['issuer: product, audience: a', `${AT}.issuer: must be a URL that starts with http:// or https://, without a query, or jwks_uri must be given`],
    ['issuer: "https://id.example?x=1", audience: a', `${AT}.issuer: must be a URL that starts with http:// or https://, without a query, or jwks_uri must be given`],
    [`${issuer}, audience: a, jwks_uri: jwks`, `${AT}.jwks_uri: expected an absolute URL that starts with http:// or https://`],
    [`${issuer}, audience: a, algorithms: [HS256]`, `${AT}.algorithms[0]: ${names}`],
    [`${issuer}, audience: a, algorithms: [none]`, `${AT}.algorithms[0]: ${names}`],
    [`${issuer}, audience: a, clock_tolerance: 6m`, `${AT}.clock_tolerance: expected a duration of at most 5m`],
    [`${issuer}, audience: a, clock_tolerance: 5`, `${AT}.clock_tolerance: expected a duration such as 250ms, 5s, 2m or 1h`],
    [`${issuer}, audience: a, principle_claim: sub`, `${AT}.principle_claim: unknown key; did you mean "principal_claim"?`],
  ] as const) {
    t.strictSame(complaints(written === '{}' ? yaml({ top: 'callers: { jwt: {} }' }) : jwt(written)), expected, written)
  }
})

t.test('callers.jwt: keys that come by plain http are worth a warning', async (t) => {
  const warning = 'plain http: whoever is on the way can put keys of their own there, and with them be any caller'
  t.strictSame(warningsOf(jwt('issuer: "http://id.example", audience: a')), [`${AT}.issuer: ${warning}`])
  t.strictSame(warningsOf(jwt('issuer: "http://id.example", audience: a, jwks_uri: "https://id.example/jwks"')), [], 'the issuer is only a name then')
  t.strictSame(warningsOf(jwt('issuer: product, audience: a, jwks_uri: "http://10.0.0.1/jwks"')), [`${AT}.jwks_uri: ${warning}`])
  t.strictSame(warningsOf(jwt('issuer: "http://localhost:1", audience: a')), [])
})

t.test('callers.jwt: what is in effect reads back', async (t) => {
  for (const written of ['issuer: "https://id.example/", audience: a', 'issuer: p, audience: [a, b], jwks_uri: "https://id.example/jwks", agent_claim: x, algorithms: [EdDSA, ES256], clock_tolerance: 1m']) {
    const shown = effectiveConfig(load(jwt(written)))
    t.strictSame(effectiveConfig(load(JSON.stringify(shown))), shown)
  }
  const shown = effectiveConfig(load(jwt('issuer: p, audience: a, jwks_uri: "https://id.example/jwks?key=hidden"')))
  t.match(shown.callers, { jwt: { issuer: 'p', audience: ['a'], jwks_uri: 'https://id.example/jwks?…', clock_tolerance: '30s' } })
})
