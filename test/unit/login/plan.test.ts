import t from 'tap'
import { loadConfigText } from '../../../src/config/load.js'
import { planOf, type LoginFlags } from '../../../src/login/plan.js'
import { oneTool } from '../../helpers/login.js'

const URL_OF_TOOLS = 'https://mcp.example/mcp'
const ISSUER = 'issuer: "https://id.example"'

function plan (yaml: string, flags: Partial<LoginFlags> = {}) {
  return planOf(loadConfigText(yaml, { env: {} }), { principal: 'alice', upstream: 'tools', ...flags })
}

const withDefaults = (credential: string, flags?: Partial<LoginFlags>) => plan(oneTool(URL_OF_TOOLS, credential), flags)

const withOwn = (own: string, defaults: string, flags?: Partial<LoginFlags>) => plan(`
upstreams: { tools: { url: "${URL_OF_TOOLS}", credential: ${defaults} } }
principals: { alice: { credentials: { tools: ${own} } } }
`, flags)

t.test('without a word in the config everything is to be found out', async (t) => {
  t.match(plan(oneTool(URL_OF_TOOLS)), {
    principal: 'alice', upstream: { name: 'tools' }, issuer: undefined, tokenEndpoint: undefined, client: undefined, scope: undefined, resource: URL_OF_TOOLS, replaces: undefined,
  })
  t.equal(plan(oneTool('https://mcp.example')).resource, 'https://mcp.example', 'as it is written, without the slash that URLs add')
})

t.test('the upstream\'s defaults count where they are for a refresh token, or for no type', async (t) => {
  const fields = `${ISSUER}, client_id: agents, client_secret: { env: SECRET }, client_auth: client_secret_post, scope: "a b", resource: "urn:tools"`
  for (const type of ['', 'type: refresh_token, ']) {
    t.match(withDefaults(`{ ${type}${fields} }`), {
      issuer: new URL('https://id.example'), client: { id: 'agents', by: 'config', proof: { clientSecret: { source: 'env SECRET' }, clientAuth: 'client_secret_post' }, keep: undefined }, scope: 'a b', resource: 'urn:tools',
    })
  }
  t.match(withDefaults('{ type: api_token, token: { env: SECRET } }'), { issuer: undefined, client: undefined })
})

t.test('the principal\'s own credential counts before the defaults, and one of another type is put aside', async (t) => {
  const defaults = `{ type: refresh_token, ${ISSUER}, client_id: all, client_secret: { env: SECRET } }`
  t.match(withOwn('{ client_id: hers, client_secret: { env: HERS } }', defaults), {
    client: { id: 'hers', proof: { clientSecret: { source: 'env HERS' }, clientAuth: 'client_secret_basic' }, keep: { source: 'env HERS' } }, resource: URL_OF_TOOLS, replaces: undefined,
  })
  t.match(withOwn('{ client_id: hers }', defaults), { client: { id: 'hers', keep: undefined } }, 'the secret is that of the defaults')
  t.match(withOwn('{ type: api_token, token: { env: T } }', defaults), { client: { id: 'all' }, replaces: 'api_token' })
})

t.test('a client with a key proves itself by it, and the key stays in the config', async (t) => {
  t.match(withDefaults(`{ type: refresh_token, ${ISSUER}, client_id: all, client_key: { file: key.pem } }`), {
    client: { proof: { clientKey: { key: { source: 'file key.pem' } }, clientAuth: 'private_key_jwt' }, keep: undefined },
  })
  t.throws(() => withOwn(`{ type: refresh_token, ${ISSUER}, client_id: hers, client_key: { file: key.pem } }`, '{}'), { name: 'LoginError', message: /client_key is the principal's own/ })
})

t.test('flags add to the config', async (t) => {
  t.match(withDefaults('{ scope: a }', { issuer: 'https://id.example', clientId: 'mine', scope: 'b c' }), {
    issuer: new URL('https://id.example'), client: { id: 'mine', by: 'flag', proof: { clientAuth: 'none' } }, scope: 'b c',
  })
  t.match(withDefaults('{ client_id: all }', { clientId: 'mine' }), { client: { id: 'mine', by: 'flag' } })
  t.match(withDefaults(`{ ${ISSUER}, client_id: all, client_secret: { env: SECRET } }`, { clientId: 'all' }), { client: { id: 'all', by: 'flag', proof: { clientAuth: 'client_secret_basic' } } }, 'the same again is no contradiction')
  t.match(withDefaults(`{ ${ISSUER} }`, { issuer: 'https://id.example/' }), { issuer: new URL('https://id.example') }, 'nor here')
  t.match(withDefaults('{ token_endpoint: "https://id.example/token", client_id: all }'), { tokenEndpoint: new URL('https://id.example/token'), issuer: undefined })
})

t.test('what cannot be is told with what to do', async (t) => {
  const refused = (message: RegExp, credential: string, flags?: Partial<LoginFlags>) => t.throws(() => withDefaults(credential, flags), { name: 'LoginError', message })
  refused(/no upstream of that name: it has tools$/, '{}', { upstream: 'tool' })
  refused(/^--principal: the name of a principal is/, '{}', { principal: ' ' })
  refused(/^--principal: "." and ".." cannot be the name of a principal/, '{}', { principal: '..' })
  refused(/^--issuer: expected an absolute URL/, '{}', { issuer: 'id.example' })
  refused(/^--scope: expected scopes/, '{}', { scope: 'a  b' })
  refused(/^--client-id: expected printable/, '{}', { clientId: 'a\nb' })
  refused(/^--issuer contradicts the config/, `{ ${ISSUER} }`, { issuer: 'https://other.example' })
  refused(/^--issuer contradicts the config/, '{ token_endpoint: "https://id.example/token" }', { issuer: 'https://id.example' })
  refused(/^--client-id names another client/, `{ ${ISSUER}, client_id: a, client_secret: { env: SECRET } }`, { clientId: 'b' })
  refused(/names a token_endpoint: put issuer in its place/, '{ client_id: a, client_secret: { env: SECRET }, token_endpoint: "https://id.example/token" }')
  refused(/^the credential of the upstream tools in the config cannot be used to log in: token_endpoint is required/, '{ client_id: a, client_secret: { env: SECRET } }')
  refused(/client_id is required beside client_secret/, `{ ${ISSUER}, client_secret: { env: SECRET } }`)
})
