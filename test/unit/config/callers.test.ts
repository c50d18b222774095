import t from 'tap'
import { checkSecrets } from '../../../src/config/check-secrets.js'
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

const JWTS = 'callers: { jwt: { issuer: "https://id.example", audience: a } }'
const EXCHANGE = 'type: token_exchange, token_endpoint: "https://id.example/token"'
const NEEDS = 'is required by a credential of type token_exchange, unless callers.jwt is set: then the caller\'s own JWT is exchanged'

t.test('an exchange without a subject_token is for callers that show a JWT', async (t) => {
  const upstream = `credential: { ${EXCHANGE} }`
  t.strictSame(complaints(yaml({ upstream, credential: '{}' })), [`principals.alice.credentials.tools.subject_token: ${NEEDS}`])
  t.strictSame(complaints(yaml({ credential: `{ ${EXCHANGE} }` })), [`principals.alice.credentials.tools.subject_token: ${NEEDS}`])
  t.strictSame(complaints(yaml({ upstream, credential: '{ subject_token: { env: T } }' })), [], 'the principal has one')
  t.strictSame(complaints(yaml({ upstream })), [], 'the principal has another type')
  t.strictSame(complaints(`upstreams: { tools: { url: "http://localhost", ${upstream} } }`), [`upstreams.tools.credential.subject_token: ${NEEDS}`], 'it is for nobody')
  t.strictSame(complaints(`upstreams: { tools: { url: "http://localhost", credential: { ${EXCHANGE}, subject_token: { env: T } } } }`), [])
  for (const credential of ['{}', `{ ${EXCHANGE} }`, '{ type: api_token, token: { env: T } }']) t.strictSame(complaints(yaml({ top: JWTS, upstream, credential })), [], credential)
})

t.test('the defaults of an upstream are what a caller with a JWT gets a token by, where they are complete', async (t) => {
  const subjectCredential = (credential: string, top = JWTS) => load(`${top}\nupstreams: { tools: { url: "http://localhost:1/mcp"${credential === '' ? '' : `, credential: { ${credential} }`} } }`).upstreams.get('tools')?.subjectCredential
  t.match(subjectCredential(`${EXCHANGE}, client_id: c, client_secret: { env: S }, audience: tools`), {
    type: 'token_exchange', tokenEndpoint: new URL('https://id.example/token'), clientId: 'c', clientSecret: { source: 'env S' }, audience: 'tools', subjectToken: undefined,
  })
  t.match(subjectCredential(EXCHANGE), { resource: 'http://localhost:1/mcp' })
  for (const credential of ['', 'type: token_exchange', `${EXCHANGE}, subject_token: { env: T }`, 'type: api_token, token: { env: T }', 'token_endpoint: "https://id.example/token"']) {
    t.equal(subjectCredential(credential), undefined, credential)
  }
  t.equal(subjectCredential(`${EXCHANGE}, subject_token: { env: T }`, ''), undefined)
})

t.test('what a caller with a JWT gets a token by is shown, and its secrets are read by check', async (t) => {
  const text = `${JWTS}\nstate: { driver: memory }\nupstreams: { tools: { url: "http://localhost:1/mcp", credential: { ${EXCHANGE}, client_id: c, client_secret: { env: NOT_THERE } } } }`
  const shown = effectiveConfig(load(text))
  t.match(shown.upstreams, { tools: { credential: { type: 'token_exchange', token_endpoint: 'https://id.example/token', client_secret: { env: 'NOT_THERE' } } } })
  t.strictSame(effectiveConfig(load(JSON.stringify(shown))), shown)
  t.match(await checkSecrets(load(text)), [{ path: 'upstreams.tools.credential.client_secret', message: /NOT_THERE/ }])
})
