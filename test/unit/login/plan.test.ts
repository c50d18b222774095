import t from 'tap'
import { loadConfigText } from '../../../src/config/load.js'
import { planOf, type LoginFlags } from '../../../src/login/plan.js'
import { oneTool } from '../../helpers/login.js'

const URL_OF_TOOLS = 'https://mcp.example/mcp'
const env = { SECRET: 'a client secret', OTHER: 'another' }

function plan (yaml: string, flags: Partial<LoginFlags> = {}) {
  return planOf(loadConfigText(yaml, { env }), { principal: 'alice', upstream: 'tools', ...flags }, env)
}

const withDefaults = (credential: string, flags?: Partial<LoginFlags>) => plan(oneTool(URL_OF_TOOLS, credential), flags)

t.test('without a word in the config everything is to be found out', async (t) => {
  t.match(plan(oneTool(URL_OF_TOOLS)), {
    principal: 'alice', upstream: { name: 'tools' }, issuer: undefined, tokenEndpoint: undefined, client: undefined, scope: undefined, resource: undefined, replaces: undefined,
  })
})

t.test('the upstream\'s defaults count where they are for a refresh token, or for no type', async (t) => {
  const fields = 'issuer: "https://id.example", client_id: agents, client_secret: { env: SECRET }, client_auth: client_secret_post, scope: "a b", resource: "urn:tools"'
  for (const type of ['', 'type: refresh_token, ']) {
    t.match(withDefaults(`{ ${type}${fields} }`), {
      issuer: new URL('https://id.example'), client: { id: 'agents', by: 'config', secret: { source: 'env SECRET' }, secretIsDefault: true, auth: 'client_secret_post' }, scope: 'a b', resource: 'urn:tools',
    })
  }
  t.match(withDefaults('{ type: api_token, token: { env: SECRET } }'), { issuer: undefined, client: undefined })
})

t.test('the principal\'s own credential counts before the defaults, and one of another type is put aside', async (t) => {
  const yaml = (own: string): string => `
upstreams: { tools: { url: "${URL_OF_TOOLS}", credential: { type: refresh_token, client_id: all, client_secret: { env: SECRET } } } }
principals: { alice: { credentials: { tools: ${own} } } }
`
  t.match(plan(yaml('{ issuer: "https://id.example", client_id: hers, client_secret: { env: OTHER }, refresh_token: { env: RT } }')), {
    client: { id: 'hers', secret: { source: 'env OTHER' }, secretIsDefault: false, auth: 'client_secret_basic' }, resource: URL_OF_TOOLS, replaces: undefined,
  })
  t.match(plan(yaml('{ type: api_token, token: { env: OTHER } }'), { issuer: 'https://id.example' }), { client: { id: 'all' }, replaces: 'api_token' })
})

t.test('flags add to the config', async (t) => {
  t.match(withDefaults('{ scope: a }', { issuer: 'https://id.example', clientId: 'mine', scope: 'b c' }), {
    issuer: new URL('https://id.example'), client: { id: 'mine', by: 'flag', secret: undefined, auth: 'none' }, scope: 'b c',
  })
  t.match(withDefaults('{ client_id: all }', { clientId: 'mine' }), { client: { id: 'mine', by: 'flag' } })
  t.match(withDefaults('{ issuer: "https://id.example", client_secret: { env: SECRET } }', { clientId: 'mine' }), { client: { id: 'mine', auth: 'client_secret_basic' } })
  t.match(withDefaults('{ issuer: "https://id.example" }', { issuer: 'https://id.example/' }), { issuer: new URL('https://id.example') }, 'the same again is no contradiction')
})

t.test('what cannot be is told with what to do', async (t) => {
  const refused = (message: RegExp, credential: string, flags?: Partial<LoginFlags>) => t.throws(() => withDefaults(credential, flags), { name: 'LoginError', message })
  refused(/no upstream of that name: it has tools$/, '{}', { upstream: 'tool' })
  refused(/^--principal: the name of a principal is/, '{}', { principal: ' ' })
  refused(/^--issuer: expected an absolute URL/, '{}', { issuer: 'id.example' })
  refused(/^--scope: expected scopes/, '{}', { scope: 'a  b' })
  refused(/^--client-id: expected printable/, '{}', { clientId: 'a\nb' })
  refused(/^--issuer contradicts the config/, '{ issuer: "https://id.example" }', { issuer: 'https://other.example' })
  refused(/^--issuer contradicts the config/, '{ token_endpoint: "https://id.example/token" }', { issuer: 'https://id.example' })
  refused(/^--client-id names another client/, '{ issuer: "https://id.example", client_id: a, client_secret: { env: SECRET } }', { clientId: 'b' })
  refused(/client_secret and no client_id/, '{ issuer: "https://id.example", client_secret: { env: SECRET } }')
  refused(/client_secret and does not say whose it is/, '{ client_id: a, client_secret: { env: SECRET } }')
  refused(/client_secret and does not say whose it is/, '{ client_id: a, client_secret: { env: SECRET }, token_endpoint: "https://id.example/token" }')
})
