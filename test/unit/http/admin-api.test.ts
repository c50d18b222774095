import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import t, { type Test } from 'tap'
import { CONTROL_ERRORS, ControlError, type ControlErrorCode, type SessionInfo } from '../../../src/control.js'
import { Secret } from '../../../src/secret.js'
import { adminAlone, controlOf, type AdminUnderTest } from '../../helpers/admin.js'
import { Canaries } from '../../helpers/canary.js'
import { mintToken } from '../../helpers/mint.js'

const HOST = { host: 'localhost' }

async function ask ({ app, headers }: AdminUnderTest, method: string, url: string, options: { payload?: unknown, headers?: Record<string, string> } = {}) {
  const { payload } = options
  const text = payload === undefined || typeof payload === 'string' ? payload : JSON.stringify(payload)
  const answer = await app.inject({
    method: method as 'GET', url, ...(text === undefined ? {} : { payload: text }), headers: { ...HOST, ...headers, ...(text === undefined ? {} : { 'content-type': 'application/json' }), ...options.headers },
  })
  return { status: answer.statusCode, headers: answer.headers, text: answer.body, json: () => answer.json() }
}

const isError = (t: Test, answer: Awaited<ReturnType<typeof ask>>, code: ControlErrorCode, details: object[] = []): void => {
  const { status, message } = CONTROL_ERRORS[code]
  t.equal(answer.status, status, answer.text)
  const { error, ...rest } = answer.json()
  t.same(rest, {})
  t.match(error, { code, message, details })
  t.equal(error.details.length, details.length, JSON.stringify(error.details))
  t.match(error.request_id, /^[\w-]+$/)
  t.match(answer.headers['content-type'], /^application\/json/)
  t.equal(answer.headers['cache-control'], 'no-store')
}

const session = (more: Partial<SessionInfo> = {}): SessionInfo => ({ id: 'ses_1', principal: 'alice', agent: 'planner', tools: undefined, expiresAt: undefined, source: 'api', ...more })

t.test('without a token in the config all of /v1 is off, and the rest is not', async (t) => {
  const admin = adminAlone(t, {}, { token: undefined })
  for (const [method, url] of [['GET', '/v1/sessions'], ['POST', '/v1/sessions'], ['GET', '/v1'], ['GET', '/v1/'], ['PUT', '/v1/none']] as const) {
    isError(t, await ask(admin, method, url), 'ERR_ADMIN_OFF')
  }
  t.equal((await ask(admin, 'GET', '/healthz')).status, 200)
})

t.test('a stranger learns nothing of what is behind /v1', async (t) => {
  const admin = adminAlone(t)
  for (const [method, url] of [['GET', '/v1/sessions'], ['PATCH', '/v1/sessions'], ['GET', '/v1/none'], ['POST', '/v1/sessions'], ['GET', '/v1/openapi.json'], ['DELETE', '/v1'], ['GET', '/v1/sessions?limit=x']] as const) {
    const answer = await ask(admin, method, url, { headers: { authorization: `Bearer ${mintToken()}` } })
    isError(t, answer, 'ERR_ADMIN_UNAUTHORIZED')
    t.equal(answer.headers['www-authenticate'], 'Bearer realm="mcp-valet-admin"')
    t.equal(answer.headers.allow, undefined)
  }
  t.match(admin.events, Array(7).fill({ event: 'denied', code: 'ERR_ADMIN_UNAUTHORIZED' }))
})

t.test('a token that cannot be read makes 503 of /v1 alone', async (t) => {
  const admin = adminAlone(t, {}, { token: { source: 'env NONE', read: async () => { throw new Error('the environment variable NONE is not set') } } })
  isError(t, await ask(admin, 'GET', '/v1/sessions'), 'ERR_ADMIN_UNAVAILABLE')
  t.equal((await ask(admin, 'GET', '/readyz')).status, 200)
  t.match(admin.events, [{ event: 'warning', reason: /NONE is not set/ }])
})

t.test('a path that is none is 404, a method that is none 405 with those that there are', async (t) => {
  const admin = adminAlone(t)
  for (const url of ['/v1', '/v1/', '/v1/none', '/v1/sessions/a/b', '/v1/Sessions', '/v1/credentials/a/b']) {
    isError(t, await ask(admin, 'GET', url), 'ERR_NOT_FOUND', [{ path: '', message: /openapi/ }])
    isError(t, await ask(admin, 'POST', url, { payload: '{', headers: { 'content-type': 'text/none' } }), 'ERR_NOT_FOUND', [{}])
  }
  for (const url of ['/page', '/page/', '/page/none.js', '/page/..%2findex.html', '/v1x', '/v2/sessions', '/metricz']) isError(t, await ask(admin, 'GET', url), 'ERR_NOT_FOUND', [{ message: /\/healthz/ }])
  for (const [method, url, allow] of [
    ['PUT', '/v1/sessions', 'GET, POST'], ['GET', '/v1/sessions/ses_1', 'DELETE'], ['OPTIONS', '/v1/principals', 'GET'], ['PATCH', '/v1/principals/alice', 'PUT, DELETE'],
    ['GET', '/v1/credentials/alice/tools/refresh', 'POST'], ['HEAD', '/v1/credentials', 'GET'], ['POST', '/v1/openapi.json', 'GET'],
  ] as const) {
    const answer = await ask(admin, method, url, { payload: 'x', headers: { 'content-type': 'text/none' } })
    if (method === 'HEAD') t.equal(answer.status, 405)
    else isError(t, answer, 'ERR_METHOD_NOT_ALLOWED')
    t.equal(answer.headers.allow, allow, `${method} ${url}`)
  }
})

t.test('a session is made as it was asked for, and its key shown', async (t) => {
  const asked: object[] = []
  const key = mintToken('vk')
  const admin = adminAlone(t, {
    control: controlOf({
      sessions: {
        create: async (given) => {
          asked.push(given)
          return { ...session({ ...given, expiresAt: given.ttlMs }), key: new Secret(key) }
        },
      },
    }),
  })
  const make = async (payload: object) => await ask(admin, 'POST', '/v1/sessions', { payload })
  const plain = await make({ principal: 'alice', agent: 'planner' })
  t.equal(plain.status, 201)
  t.same(plain.json(), { id: 'ses_1', key, principal: 'alice', agent: 'planner', tools: null, expires_at: null })
  const full = await make({ principal: 'alice', agent: 'planner', tools: ['a', 'b*'], ttl: '1h' })
  t.match(full.json(), { tools: { allow: ['a', 'b*'], deny: [] }, expires_at: '1970-01-01T01:00:00.000Z' })
  await make({ principal: 'alice', agent: 'planner', tools: { deny: ['c'] }, ttl: 60 })
  await make({ principal: 'alice', agent: 'planner', tools: { allow: ['d'] } })
  await make({ principal: 'alice', agent: 'planner', tools: [] })
  const who = { principal: 'alice', agent: 'planner' }
  t.same(asked, [
    who, { ...who, tools: { allow: ['a', 'b*'], deny: [] }, ttlMs: 3_600_000 }, { ...who, tools: { allow: ['*'], deny: ['c'] }, ttlMs: 60_000 },
    { ...who, tools: { allow: ['d'], deny: [] } }, { ...who, tools: { allow: [], deny: [] } },
  ])
})

const TOOLS = 'expected the name of a tool, or a glob such as search_*'
for (const [what, payload, details] of [
  ['nothing', {}, [{ path: 'principal', message: 'is required' }, { path: 'agent', message: 'is required' }]],
  ['a principal with a line break', { principal: 'a\nb', agent: 'p' }, [{ path: 'principal', message: /printable/ }]],
  ['an agent that is a number', { principal: 'alice', agent: 5 }, [{ path: 'agent', message: /printable/ }]],
  ['an unknown key', { principal: 'alice', agent: 'p', tool: [] }, [{ path: 'tool', message: 'unknown key; did you mean "tools"?' }]],
  ['a key that is no word', { principal: 'alice', agent: 'p', 'correct horse battery': 1 }, [{ path: '', message: 'unknown key; it is not shown, as it may be a secret' }]],
  ['a null', { principal: 'alice', agent: 'p', ttl: null }, [{ path: 'ttl', message: /leave the key out/ }]],
  ['tools of all kinds', { principal: 'alice', agent: 'p', tools: ['ok', '', 7, 'a\u202eb', 'x'.repeat(257)] }, [1, 2, 3, 4].map((n) => ({ path: `tools[${n}]`, message: TOOLS }))],
  ['rules that are none', { principal: 'alice', agent: 'p', tools: { allow: 'a', deny: [[]], also: 1 } }, [
    { path: 'tools.also', message: 'unknown key' }, { path: 'tools.allow', message: /list/ }, { path: 'tools.deny[0]', message: TOOLS },
  ]],
  ['a text of tools', { principal: 'alice', agent: 'p', tools: 'a,b' }, [{ path: 'tools', message: /list of names/ }]],
  ['too many tools', { principal: 'alice', agent: 'p', tools: Array(1_001).fill('a') }, [{ path: 'tools', message: /list of names/ }]],
  ['a ttl that is none', { principal: 'alice', agent: 'p', ttl: '2x' }, [{ path: 'ttl', message: /3650d/ }]],
  ['a ttl that is too long', { principal: 'alice', agent: 'p', ttl: '3651d' }, [{ path: 'ttl', message: /3650d/ }]],
  ['a list', [], [{ path: '', message: /JSON object/ }]],
  ['a text', '"x"', [{ path: '', message: /JSON object/ }]],
  ['an empty body', '', [{ path: '', message: /JSON object/ }]],
  ['half a body', '{"principal": "alice"', [{ path: '', message: 'the body is not valid JSON' }]],
  ['a prototype', '{"__proto__": {}, "principal": "alice", "agent": "p"}', [{ path: '', message: 'the body is not valid JSON' }]],
] as const) {
  t.test(`a session is not made of ${what}`, async (t) => {
    isError(t, await ask(adminAlone(t), 'POST', '/v1/sessions', { payload }), 'ERR_REQUEST_INVALID', [...details])
  })
}

t.test('a body that is no JSON by its type is refused', async (t) => {
  const admin = adminAlone(t)
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x', '']) {
    isError(t, await ask(admin, 'POST', '/v1/sessions', { payload: 'x', headers: { 'content-type': type } }), 'ERR_REQUEST_INVALID', [{ path: '', message: /Content-Type: application\/json/ }])
  }
})

t.test('a body of 256 KiB is taken, and one more byte is not', async (t) => {
  const admin = adminAlone(t)
  const empty = JSON.stringify({ principal: 'alice', agent: '' })
  const payload = (bytes: number): string => empty.replace('""', `"${'x'.repeat(bytes - empty.length)}"`)
  isError(t, await ask(admin, 'POST', '/v1/sessions', { payload: payload(256 * 1024) }), 'ERR_REQUEST_INVALID', [{ path: 'agent' }])
  isError(t, await ask(admin, 'POST', '/v1/sessions', { payload: payload(256 * 1024 + 1) }), 'ERR_BODY_TOO_LARGE')
})

t.test('of a body that is wrong all over fifty places are told', async (t) => {
  const { error } = (await ask(adminAlone(t), 'POST', '/v1/sessions', { payload: { principal: 'a', agent: 'b', tools: { allow: Array(1_000).fill(0), deny: Array(1_000).fill('') } } })).json()
  t.equal(error.details.length, 51)
  t.same(error.details.at(-1), { path: '', message: 'and 1950 more' })
})

t.test('row 46: what stands in a bad request is not repeated', async (t) => {
  const canaries = new Canaries()
  const bad = (name: string): string => canaries.add(name, `${mintToken()} \u0000`)
  // A key is shown unless it looks like a secret, for which it needs a digit; one random token in 250 has none.
  const [upstream, key, deep] = ['upstream', 'key', 'deep'].map((name) => canaries.add(name, `${mintToken()}7`)) as [string, string, string]
  const admin = adminAlone(t, { control: controlOf({ sessions: { list: () => [] } }) })
  const answers = [
    await ask(admin, 'PUT', '/v1/principals/alice', {
      payload: { [key]: 1, credentials: { [`${upstream} `]: {}, tools: { [deep]: 1, token: bad('token'), access_token: bad('access'), refresh_token: bad('refresh'), client_secret: bad('client'), issuer: bad('issuer'), type: bad('type'), scope: bad('scope') } } },
    }),
    await ask(admin, 'POST', '/v1/sessions', { payload: `{"agent": "${canaries.add('json', mintToken())}"` }),
    await ask(admin, 'POST', '/v1/sessions', { payload: { principal: bad('principal'), agent: bad('agent'), ttl: bad('ttl') } }),
    await ask(admin, 'GET', `/v1/sessions?cursor=${canaries.add('cursor', mintToken())}`),
    await ask(admin, 'GET', '/v1/sessions', { headers: { authorization: `Bearer ${canaries.add('bearer', mintToken())}` } }),
  ]
  t.same(answers.map(({ status }) => status), [400, 400, 400, 400, 401])
  t.match(answers[0]?.text, 'credentials.tools.refresh_token')
  for (const { text } of answers) t.same(canaries.findIn(text), [])
  t.same(canaries.findIn(JSON.stringify(admin.events)), [])
})

t.test('a principal is put as it was given', async (t) => {
  const asked: unknown[] = []
  const info = { id: 'alice', tools: undefined, source: 'api', upstreams: ['tools'] } as const
  const admin = adminAlone(t, {
    control: controlOf({
      principals: {
        put: async (...given) => { asked.push(given); return info },
        putCredential: async (...given) => { asked.push(given); return { ...info, tools: { allow: ['a'], deny: ['b'] } } },
      },
    }),
  })
  const credential = { type: 'refresh_token', access_token: mintToken(), expires_in: 3600, refresh_token: mintToken('rt'), client_id: 'app', client_secret: mintToken(), client_secret_expires_at: 1_900_000_000, client_auth: 'client_secret_post', issuer: 'https://id.example', scope: 'a b', resource: 'https://mcp.example/mcp' }
  const put = await ask(admin, 'PUT', '/v1/principals/alice', { payload: { credentials: { tools: credential, other: {} } } })
  t.same([put.status, put.json()], [200, { ...info, tools: null }])
  await ask(admin, 'PUT', `/v1/principals/${encodeURIComponent('a/b %é')}`, { payload: { tools: ['x'], credentials: {} } })
  const one = await ask(admin, 'PUT', '/v1/principals/alice/credentials/tools', { payload: { token: 'abc' } })
  t.same([one.status, one.json()], [200, { ...info, tools: { allow: ['a'], deny: ['b'] } }])
  t.same(asked, [
    ['alice', { credentials: { tools: credential, other: {} } }], ['a/b %é', { tools: { allow: ['x'], deny: [] }, credentials: {} }], ['alice', 'tools', { token: 'abc' }],
  ])
})

t.test('a credential that is none is told by its place', async (t) => {
  const admin = adminAlone(t)
  isError(t, await ask(admin, 'PUT', '/v1/principals/alice', { payload: { tools: {} } }), 'ERR_REQUEST_INVALID', [{ path: 'credentials', message: 'is required' }])
  isError(t, await ask(admin, 'PUT', '/v1/principals/alice', { payload: { credentials: { 'a b': {}, 7: { token: '' }, tools: { expires_in: '1', token_endpoint: 'ftp:x', client_auth: 'X', client_secret_expires_at: 1e12 } } } }), 'ERR_REQUEST_INVALID', [
    { path: 'credentials["a b"]', message: /name of an upstream/ }, { path: 'credentials.7.token', message: /RFC 6750/ },
    { path: 'credentials.tools.expires_in' }, { path: 'credentials.tools.token_endpoint', message: /http/ }, { path: 'credentials.tools.client_secret_expires_at', message: /whole number of seconds since 1970/ }, { path: 'credentials.tools.client_auth' },
  ])
  isError(t, await ask(admin, 'PUT', '/v1/principals/alice/credentials/tools', { payload: { token: 'a', tokn: 'b' } }), 'ERR_REQUEST_INVALID', [{ path: 'tokn', message: 'unknown key; did you mean "token"?' }])
  isError(t, await ask(admin, 'PUT', '/v1/principals/%0a/credentials/.', { payload: {} }), 'ERR_REQUEST_INVALID', [{ path: 'id' }, { path: 'upstream' }])
})

t.test('a principal is deleted, or it is told why not', async (t) => {
  const admin = adminAlone(t, {
    control: controlOf({
      principals: { delete: async (id) => id === 'put', list: () => [{ id: 'configured', tools: undefined, source: 'config', upstreams: [] }] },
    }),
  })
  const answer = await ask(admin, 'DELETE', '/v1/principals/put', { payload: '' })
  t.same([answer.status, answer.text], [204, ''])
  isError(t, await ask(admin, 'DELETE', '/v1/principals/none'), 'ERR_PRINCIPAL_UNKNOWN')
  isError(t, await ask(admin, 'DELETE', '/v1/principals/configured'), 'ERR_CONFIGURED')
})

t.test('a session is revoked, or there was none', async (t) => {
  const admin = adminAlone(t, { control: controlOf({ sessions: { revoke: async (id) => id === 'ses_1' } }) })
  t.equal((await ask(admin, 'DELETE', '/v1/sessions/ses_1')).status, 204)
  isError(t, await ask(admin, 'DELETE', '/v1/sessions/ses_2'), 'ERR_NOT_FOUND', [{ path: 'id' }])
  isError(t, await ask(admin, 'DELETE', `/v1/sessions/${'x'.repeat(129)}`), 'ERR_REQUEST_INVALID', [{ path: 'id' }])
})

t.test('a credential is refreshed, with a body or without', async (t) => {
  const info = { principal: 'alice', upstream: 'tools', type: 'refresh_token', state: 'valid', source: 'api', expiresAt: 0, refreshedAt: 1_000, token: 'aabbccdd', error: undefined } as const
  const admin = adminAlone(t, {
    control: controlOf({
      credentials: {
        refresh: async (principal, upstream) => {
          if (upstream === 'down') throw new ControlError('ERR_REFRESH_FAILED', [{ path: '', message: 'the token endpoint cannot be reached (ECONNREFUSED)' }])
          return { ...info, principal }
        },
      },
    }),
  })
  for (const payload of [undefined, '', '{}']) {
    const answer = await ask(admin, 'POST', '/v1/credentials/a%2Fb/tools/refresh', payload === undefined ? {} : { payload })
    t.same([answer.status, answer.json()], [200, {
      principal: 'a/b', upstream: 'tools', type: 'refresh_token', state: 'valid', source: 'api', expires_at: '1970-01-01T00:00:00.000Z', refreshed_at: '1970-01-01T00:00:01.000Z', token: 'aabbccdd', error: null,
    }])
  }
  isError(t, await ask(admin, 'POST', '/v1/credentials/alice/down/refresh'), 'ERR_REFRESH_FAILED', [{ message: /ECONNREFUSED/ }])
})

t.test('lists come in pages, of one principal where that is asked for', async (t) => {
  const sessions = Array.from({ length: 250 }, (_, i) => session({ id: `ses_${String(i).padStart(3, '0')}`, principal: i % 2 === 0 ? 'alice' : 'bob' }))
  const credentials = ['alice', 'bob'].flatMap((principal) => ['tools', 'crm'].map((upstream) => ({
    principal, upstream, type: 'api_token', state: 'valid', source: 'config', expiresAt: undefined, refreshedAt: undefined, token: undefined, error: undefined,
  } as const)))
  const admin = adminAlone(t, {
    control: controlOf({
      sessions: { list: () => sessions },
      credentials: { list: () => credentials },
      principals: { list: () => ['b', 'a', 'c'].map((id) => ({ id, tools: undefined, source: 'config', upstreams: [] })) },
    }),
  })
  const get = async (url: string) => (await ask(admin, 'GET', url)).json()
  const first = await get('/v1/sessions')
  t.same([first.sessions.length, first.sessions[0].id], [100, 'ses_000'])
  const rest = await get(`/v1/sessions?limit=1000&cursor=${first.next_cursor}`)
  t.same([rest.sessions.length, rest.sessions[0].id, rest.next_cursor], [150, 'ses_100', null])
  t.equal((await get('/v1/sessions?principal=alice&limit=1000')).sessions.length, 125)
  t.same((await get('/v1/sessions?principal=none')), { sessions: [], next_cursor: null })
  t.same((await get('/v1/principals?limit=2')).principals.map(({ id }: { id: string }) => id), ['a', 'b'])
  const pairs = async (query: string) => (await get(`/v1/credentials${query}`)).credentials.map(({ principal, upstream }: { principal: string, upstream: string }) => `${principal} ${upstream}`)
  t.same(await pairs(''), ['alice crm', 'alice tools', 'bob crm', 'bob tools'])
  t.same(await pairs('?principal=bob'), ['bob crm', 'bob tools'])
  t.same(await pairs('?upstream=tools'), ['alice tools', 'bob tools'])
  t.same(await pairs('?upstream=tools&principal=alice'), ['alice tools'])
})

for (const [query, details] of [
  ['limit=0', [{ path: 'limit' }]], ['limit=1001', [{ path: 'limit' }]], ['limit=x', [{ path: 'limit' }]], ['limit=1e999', [{ path: 'limit' }]], ['limit=-1e999', [{ path: 'limit' }]], ['limit=Infinity', [{ path: 'limit' }]], ['limit=-Infinity', [{ path: 'limit' }]], ['limit=1.5', [{ path: 'limit' }]], ['limit=1&limit=2', [{ path: 'limit' }]],
  ['cursor=%20', [{ path: 'cursor' }]], ['state=valid', [{ path: 'state', message: 'unknown key' }]], ['principal=', [{ path: 'principal' }]],
] as const) {
  t.test(`a list is not asked for by ?${query}`, async (t) => {
    isError(t, await ask(adminAlone(t, { control: controlOf({ sessions: { list: () => [] } }) }), 'GET', `/v1/sessions?${query}`), 'ERR_REQUEST_INVALID', [...details])
  })
}

t.test('row 46: a field that no schema names never leaves', async (t) => {
  const canaries = new Canaries()
  const extra = (name: string): object => ({ [name]: canaries.add(name, mintToken()), refresh_token: canaries.add(`${name} token`, mintToken()) })
  const admin = adminAlone(t, {
    control: controlOf({
      sessions: { list: () => [{ ...session({ tools: { allow: [], deny: [], ...extra('rules') } }), ...extra('session') }] },
      principals: { list: () => [{ id: 'alice', tools: undefined, source: 'api', upstreams: [], ...extra('principal') }], put: async () => ({ id: 'alice', tools: undefined, source: 'api', upstreams: [], ...extra('put') }) },
      credentials: { list: () => [{ principal: 'alice', upstream: 'tools', type: 'api_token', state: 'valid', source: 'api', expiresAt: 1, refreshedAt: 1, token: 'aabbccdd', error: undefined, ...extra('credential') }] },
    }),
  })
  for (const [method, url] of [['GET', '/v1/sessions'], ['GET', '/v1/principals'], ['GET', '/v1/credentials'], ['PUT', '/v1/principals/alice']] as const) {
    const answer = await ask(admin, method, url, method === 'PUT' ? { payload: { credentials: {} } } : {})
    t.equal(answer.status, 200)
    t.same(canaries.findIn(answer.text), [], `${method} ${url}`)
  }
})

t.test('row 46: a fault is told without its message, and the log says where it is', async (t) => {
  const canaries = new Canaries()
  const admin = adminAlone(t, { control: controlOf({ sessions: { list: () => { throw new TypeError(canaries.add('fault', mintToken())) } } }) })
  const answer = await ask(admin, 'GET', '/v1/sessions')
  isError(t, answer, 'ERR_INTERNAL')
  t.match(admin.events, [{ event: 'internal_error', request_id: answer.json().error.request_id, reason: /^TypeError at / }])
  t.same(canaries.findIn(answer.text + JSON.stringify(admin.events)), [])
})

t.test('an answer that no schema can write is a fault, not half an answer', async (t) => {
  const admin = adminAlone(t, { control: controlOf({ sessions: { list: () => [session({ expiresAt: Number.NaN })] } }) })
  isError(t, await ask(admin, 'GET', '/v1/sessions'), 'ERR_INTERNAL')
})

t.test('where agents call is told', async (t) => {
  const admin = adminAlone(t, { endpoints: () => ({ proxy: 'unix:/run/valet.sock', header: 'x-agent', upstreams: [{ name: 'tools', path: '/tools/mcp', url: new URL('https://mcp.example/mcp') }] }) })
  t.same((await ask(admin, 'GET', '/v1/upstreams')).json(), { proxy: 'unix:/run/valet.sock', header: 'x-agent', upstreams: [{ name: 'tools', path: '/tools/mcp', url: 'https://mcp.example/mcp' }] })
})

t.test('the OpenAPI document is one, names every route, and answers are what it says', async (t) => {
  const admin = adminAlone(t, { control: controlOf({ sessions: { list: () => [session(), session({ id: 'ses_2', tools: { allow: ['a'], deny: [] }, expiresAt: 1e12 })] } }) })
  const answer = await ask(admin, 'GET', '/v1/openapi.json')
  t.match(answer.headers['content-type'], 'application/json')
  const document = answer.json()
  t.equal(document.openapi, '3.1.0')
  t.same(Object.fromEntries(Object.entries(document.paths as Record<string, object>).map(([path, methods]) => [path, Object.keys(methods).sort()])), {
    '/v1/sessions': ['get', 'post'],
    '/v1/sessions/{id}': ['delete'],
    '/v1/principals': ['get'],
    '/v1/principals/{id}': ['delete', 'put'],
    '/v1/principals/{id}/credentials/{upstream}': ['put'],
    '/v1/credentials': ['get'],
    '/v1/credentials/{principal}/{upstream}/refresh': ['post'],
    '/v1/upstreams': ['get'],
    '/v1/events': ['get'],
    '/v1/openapi.json': ['get'],
  })
  t.same(Object.keys(document.components.schemas).sort(), ['Credential', 'Error', 'GivenCredential', 'NewSession', 'Principal', 'Session', 'Upstreams'])
  t.notMatch(answer.text, /"reads"|errorMessage|\$id/, 'keywords of our own stay here')
  const operations = Object.values(document.paths as Record<string, Record<string, { operationId?: string, responses: Record<string, object> }>>).flatMap((methods) => Object.values(methods))
  t.equal(new Set(operations.map(({ operationId }) => operationId)).size, operations.length, 'each with a name of its own')

  // JSON Schema 2020-12, which OpenAPI 3.1 is made of; every $ref must lead somewhere for this.
  const ajv = new Ajv2020({ strictTypes: false, allowUnionTypes: true, strict: false, validateFormats: false })
  ajv.addSchema({ $id: 'document', ...document })
  const schemaOf = (pointer: string): ValidateFunction => ajv.compile({ $ref: `document#${pointer}` })
  for (const name of Object.keys(document.components.schemas)) schemaOf(`/components/schemas/${name}`)
  const json = (path: string, method: string, status: string): string => `/paths/${path.replaceAll('/', '~1')}/${method}/responses/${status}/content/application~1json/schema`
  t.ok(schemaOf(json('/v1/sessions', 'get', '200'))((await ask(admin, 'GET', '/v1/sessions')).json()))
  t.ok(schemaOf(json('/v1/sessions', 'get', '4XX'))((await ask(admin, 'GET', '/v1/sessions?limit=x')).json()))
  t.notOk(schemaOf(json('/v1/sessions', 'get', '200'))({ sessions: [{}], next_cursor: null }))
})
