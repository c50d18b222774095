import t, { type Test } from 'tap'
import { setStage, seamless, standalone } from '../helpers/interop.js'
import { connectSdk, makeSdk, SDKS, type AgentOptions, type Sdk } from '../helpers/sdk-clients.js'
import { startUpstream } from '../helpers/upstream.js'

t.jobs = 4

const INFORMATION = { redirect_uris: ['http://127.0.0.1:9/callback'], client_name: 'interop' }

/** An OAuthClientProvider that notes what is asked of it. */
function provider (options: { tokens?: () => object, clientInformation?: object } = {}) {
  const asked: string[] = []
  return {
    asked,
    redirectUrl: INFORMATION.redirect_uris[0],
    clientMetadata: INFORMATION,
    clientInformation: () => options.clientInformation,
    saveClientInformation () { asked.push('saveClientInformation') },
    tokens: () => options.tokens?.(),
    saveTokens () { asked.push('saveTokens') },
    redirectToAuthorization (url: URL) { asked.push(`redirect to ${url.pathname}`) },
    saveCodeVerifier () { asked.push('saveCodeVerifier') },
    codeVerifier: () => 'verifier',
  }
}

const WRONG = { 'X-Session-Key': `vk_${'x'.repeat(43)}` }

for (const sdk of SDKS) {
  t.test(`${sdk} with an OAuth provider and a wrong session key: an error, and no login is found`, { buffered: true }, async (t) => {
    const stage = await setStage(t, 'demo')
    const authProvider = provider()
    const { answers, error } = await refused(t, sdk, stage.url, { headers: WRONG, authProvider })
    t.same(authProvider.asked, [], 'nobody is sent to a login, nothing is registered')
    found404(t, answers, stage.url)
    t.equal(stage.hop.passed.length, 0, 'the upstream hears of none of it')
    t.equal(error.name, (await refused(t, sdk, await bare401(t), { authProvider: provider() })).error.name, 'the error is that of any server that answers a bare 401')
  })

  // The client's own doing: without metadata it takes /authorize at the server's origin for a login (MCP 2025-03-26),
  // whatever is answered there. A provider without a client id, as above, does not get that far.
  t.test(`${sdk} with an OAuth provider that has a client id, and a wrong session key: sent to /authorize, as by any bare 401`, { buffered: true }, async (t) => {
    const stage = await setStage(t, 'demo')
    const through = provider({ clientInformation: { client_id: 'registered' } })
    const { answers, error } = await refused(t, sdk, stage.url, { headers: WRONG, authProvider: through })
    t.equal(error.constructor.name, 'UnauthorizedError')
    found404(t, answers, stage.url)
    t.equal((await fetch(new URL('/authorize', stage.url))).status, 404, 'where nothing is')

    const without = provider({ clientInformation: { client_id: 'registered' } })
    await refused(t, sdk, await bare401(t), { authProvider: without })
    t.same(through.asked, without.asked)
  })

  t.test(`${sdk} without an OAuth provider and with a wrong session key: the 401 and its code`, { buffered: true }, async (t) => {
    const stage = await setStage(t, 'demo')
    const { answers, error } = await refused(t, sdk, stage.url, { headers: WRONG })
    t.match(error.message, 'ERR_SESSION_UNKNOWN')
    t.same(answers.map(({ method, status }) => `${method} ${status}`), ['POST 401'])
  })

  t.test(`${sdk} whose OAuth tokens are a session key`, { buffered: true }, async (t) => {
    const stage = await setStage(t, 'demo')
    const key = stage.headers['X-Session-Key'] as string
    const authProvider = provider({ tokens: () => ({ access_token: key, token_type: 'Bearer' }) })
    const agent = await connectSdk(t, sdk, stage.url, { authProvider })
    await standalone(stage, agent)
    stage.expire()
    t.ok((await agent.tools()).includes('whoami'))
    t.same(authProvider.asked, [])
    seamless(t, stage, agent, 2)
  })

  t.test(`${sdk} with an OAuth provider: the upstream's refusal is no 401, and starts nothing`, { buffered: true }, async (t) => {
    const stage = await setStage(t, 'demo')
    const authProvider = provider({ clientInformation: { client_id: 'registered' } })
    const agent = await connectSdk(t, sdk, stage.url, { ...stage, authProvider })
    await standalone(stage, agent)
    stage.issuer.revoke('alice')
    stage.expire()
    const posts = (): number[] => agent.answers.filter(({ method }) => method !== 'GET').map(({ status }) => status)
    const before = posts().length
    const error = await agent.tools().then(() => undefined, (error: unknown) => error as Error)
    t.match(error?.message, 'ERR_CREDENTIAL_REVOKED')
    t.same(posts().slice(before), [502])
    t.same(authProvider.asked, [])
  })
}

/** The error of a client that cannot connect, and the answers that led to it. */
async function refused (t: Test, sdk: Sdk, url: string, options: AgentOptions) {
  const agent = makeSdk(t, sdk, url, options)
  const error = await agent.connect().then(() => new TypeError('it connected'), (error: unknown) => error as Error)
  t.type(error, Error)
  t.notMatch(error, { name: 'TypeError' })
  return { error, answers: agent.answers }
}

/** A server that answers 401 and says no more, and has nothing at any other path. */
async function bare401 (t: Test): Promise<string> {
  const { origin } = await startUpstream(t, ({ url }, response) => {
    response.writeHead(url === '/mcp' ? 401 : 404)
    response.end()
  })
  return `${origin}/mcp`
}

/** The agent's own call was 401; whatever it looked for then, it looked for here, and it was 404. */
function found404 (t: Test, answers: ReadonlyArray<{ method: string, url: string, status: number }>, url: string): void {
  t.same(answers.filter((answer) => answer.status !== (answer.url === url ? 401 : 404)), [])
  t.same(answers.filter((answer) => new URL(answer.url).origin !== new URL(url).origin), [])
}
