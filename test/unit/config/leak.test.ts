import { readFileSync } from 'node:fs'
import { inspect } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { parse, stringify } from 'yaml'
import { loadConfigText } from '../../../src/config/load.js'
import { ConfigError } from '../../../src/config/problem.js'
import { complaints, problemsOf, yaml } from './helpers.js'

const CANARY = 'sk-Canary-9f3b71d2'
const SENTENCE = 'a secret is never written here: use { env: NAME }, { file: PATH } or { command: [..] }'

/** A config with a reference at every place where a secret belongs; each `{ env: SECRET }` is one. */
const EVERYWHERE = `
state: { key: { env: SECRET } }
upstreams:
  tools:
    url: https://h/mcp
    tls: { cert: { env: SECRET }, ca: { env: SECRET }, key: { env: SECRET } }
    credential: { type: refresh_token, token_endpoint: "https://id/t", client_id: c, client_secret: { env: SECRET }, refresh_token: { env: SECRET }, access_token: { env: SECRET } }
principals:
  a: { credentials: { tools: { type: api_token, token: { env: SECRET } } } }
  b: { credentials: { tools: { refresh_token: { env: SECRET }, client_secret: { env: SECRET }, access_token: { env: SECRET } } } }
  c: { credentials: { tools: { type: client_credentials, issuer: "https://id", client_id: c, client_secret: { env: SECRET } } } }
  d:
    credentials:
      tools:
        type: json_refresh
        url: https://h/r
        headers: { X-Api-Key: { env: SECRET }, Authorization: { env: SECRET }, Cookie: { env: SECRET } }
        body: { client_secret: { env: SECRET }, deep: [{ password: { env: SECRET } }], api_key: { env: SECRET }, refresh_token: { env: SECRET } }
        refresh_token: { env: SECRET }
        access_token: { env: SECRET }
  e: { credentials: { tools: { type: token_exchange, issuer: "https://id", client_id: c, client_key: { env: SECRET }, subject_token: { env: SECRET }, actor_token: { env: SECRET } } } }
  f: { credentials: { tools: { type: jwt_bearer, issuer: "https://id", assertion: { env: SECRET } } } }
  g: { credentials: { tools: { type: jwt_bearer, issuer: "https://id", key: { env: SECRET }, claims: { iss: i, sub: s } } } }
  h: { credentials: { tools: { type: signed_jwt, alg: HS256, key: { env: SECRET } } } }
sessions:
  - { principal: a, agent: x, key: { env: SECRET } }
`
const PLACES = EVERYWHERE.split('{ env: SECRET }').length - 1

/** EVERYWHERE with something else at its nth place. */
function withAt (place: number, text: string): string {
  const parts = EVERYWHERE.split('{ env: SECRET }')
  return parts.slice(0, place + 1).join('{ env: SECRET }') + text + parts.slice(place + 1).join('{ env: SECRET }')
}

function everythingShown (text: string): string {
  try {
    loadConfigText(text, { env: {}, file: 'v.yaml' })
    return ''
  } catch (error) {
    return inspect(error, { depth: 10 }) + JSON.stringify((error as ConfigError).problems)
  }
}

t.test('a literal where a secret belongs is refused by its path, not by its value', async (t) => {
  t.strictSame(complaints(EVERYWHERE), [])
  t.equal(PLACES, 28)
  for (let place = 0; place < PLACES; place += 1) {
    const problems = problemsOf(withAt(place, `"${CANARY}"`))
    // The path of a CA or a certificate is no secret, so there a text is one.
    if (place === 1 || place === 2) t.strictSame(problems, [])
    else t.match(problems.map(({ message }) => message), [SENTENCE], `place ${place}`)
  }
})

t.test('whatever is written in its place is not shown', async (t) => {
  const forms = [
    `"${CANARY}"`, `[${CANARY}]`, `{ value: ${CANARY} }`, `{ ${CANARY} }`, `{ ${CANARY}: x }`, `{ env: ${CANARY} }`, `{ env: [${CANARY}] }`, `{ env:${CANARY} }`,
    `{ env: A, file: ${CANARY} }`, `{ file: { x: ${CANARY} } }`, `{ command: ${CANARY} }`, '{ command: [] }', `!!binary ${CANARY}`, `*${CANARY}`, `"${CANARY}`,
    `\${${CANARY}}`, `{ env: A } ${CANARY}`,
  ]
  for (const form of forms) {
    for (let place = 0; place < PLACES; place += 1) {
      const shown = everythingShown(withAt(place, form))
      // A body may be any JSON, and a CA any path: what is fine there is not an error.
      if (shown.includes(CANARY)) t.fail(`${form} at place ${place}: ${shown}`)
    }
    t.not(everythingShown(withAt(6, form)), '', form)
  }
})

t.test('a key that lost its colon or its space is not shown', async (t) => {
  for (const slip of [`token:${CANARY}`, `token=${CANARY}`, CANARY]) {
    const text = yaml({ credential: `{ type: api_token, ${slip} }` })
    t.match(problemsOf(text).map(({ path, message }) => `${path}: ${message}`).join('\n'), /tools: unknown key; it is not shown, as it may be a secret/)
    t.notMatch(everythingShown(text), CANARY)
  }
  t.notMatch(everythingShown(yaml({ principals: `bob:${CANARY}: 5` })), CANARY)
})

t.test('URLs with a password are refused without it', async (t) => {
  for (const key of ['url', 'credential: { type: refresh_token, token_endpoint', 'credential: { type: refresh_token, issuer', 'credential: { type: refresh_token, resource', 'credential: { type: json_refresh, url']) {
    for (const url of [`https://user:${CANARY}@h/`, `https://${CANARY}@h/`, `https://u:${CANARY}@@:h/`, `ftp://u:${CANARY}@h/`, `https://h/#${CANARY}`]) {
      const text = `upstreams:\n  tools:\n    ${key === 'url' ? '' : 'url: https://h\n    '}${key}: "${url}"${key === 'url' ? '' : ' }'}`
      const shown = everythingShown(text)
      t.not(shown, '', `${key} ${url}`)
      t.notMatch(shown, CANARY)
    }
  }
})

t.test('any change to a valid config is accepted or refused by a ConfigError, and echoes no value', async (t) => {
  const valid: unknown = parse(EVERYWHERE)
  const example: unknown = parse(readFileSync('config/valet.yaml', 'utf8'))
  const junk = fc.oneof(
    fc.constant(CANARY), fc.constant(null), fc.integer(), fc.double(), fc.boolean(), fc.constant([]), fc.constant({}), fc.constant(''),
    fc.string().map((text) => `${text}${CANARY}`), fc.constant([CANARY]), fc.constant({ env: CANARY }), fc.constant({ type: CANARY }), fc.constant({ constructor: CANARY }),
    fc.constant(JSON.parse(`{"__proto__":"${CANARY}"}`)), fc.jsonValue()
  )
  const key = fc.oneof(fc.constantFrom('type', 'url', 'token', 'env', '__proto__', 'constructor', 'toString', 'credentials', 'key', '', '<<'), fc.string({ maxLength: 8 }))
  const change = fc.record({ steps: fc.array(fc.nat(), { minLength: 1, maxLength: 8 }), how: fc.constantFrom('replace', 'delete', 'add', 'swap'), junk, key })
  let refused = 0
  fc.assert(fc.property(fc.constantFrom(valid, example), fc.array(change, { minLength: 1, maxLength: 4 }), (base, changes) => {
    const config = structuredClone(base)
    for (const one of changes) mutate(config, one)
    try {
      loadConfigText(stringify(config, { aliasDuplicateObjects: false }), { env: {} })
    } catch (error) {
      refused += 1
      if (!(error instanceof ConfigError)) throw error
      if (inspect(error, { depth: 10 }).includes('anary')) throw new Error('it echoes the canary')
      if (error.problems.length === 0 || error.problems.some(({ line }) => line < 0)) throw new Error('without a place')
    }
  }), { numRuns: 600 })
  t.ok(refused > 300, `${refused} of 600 were refused`)
})

t.test('any change to the text of a valid config is accepted or refused by a ConfigError', async () => {
  const text = EVERYWHERE.replaceAll('{ env: SECRET }', `{ env: SECRET } # ${CANARY}\n  `)
  const bits = fc.constantFrom('', ' ', '\n', '\t', ':', '{', '}', '[', ']', '"', '\'', '&a ', '*a ', '!', '- ', '? ', '# ', '|', '>', '%', '@', '\0', '---', '...')
  for (const base of [text, EVERYWHERE, readFileSync('config/valet.yaml', 'utf8')]) {
    fc.assert(fc.property(fc.array(fc.tuple(fc.nat(base.length), fc.nat(12), bits), { minLength: 1, maxLength: 3 }), (edits) => {
      const edited = edits.reduce((all, [at, cut, bit]) => all.slice(0, at) + bit + all.slice(at + cut), base)
      try {
        loadConfigText(edited, { env: {} })
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error
        if (error.message.includes('Canary')) throw new Error('it echoes the canary')
      }
    }), { numRuns: 200 })
  }
})

interface Change { steps: number[], how: string, junk: unknown, key: string }

/** Walks down by `steps` (each chooses a member) and changes what is there. */
function mutate (config: unknown, { steps, how, junk, key }: Change): void {
  let holder = config as Record<string, unknown>
  for (const [index, step] of steps.entries()) {
    const keys = Object.keys(holder)
    const chosen = keys[step % keys.length]
    if (chosen === undefined) break
    const next = holder[chosen]
    if (index < steps.length - 1 && typeof next === 'object' && next !== null && Object.keys(next).length > 0) {
      holder = next as Record<string, unknown>
      continue
    }
    if (how === 'delete') delete holder[chosen]
    else if (how === 'replace') put(holder, chosen, structuredClone(junk))
    else if (how === 'add') put(holder, Array.isArray(holder) ? String(holder.length) : key, structuredClone(junk))
    else put(holder, chosen, holder[keys[(step + 1) % keys.length] as string])
    break
  }
}

function put (holder: object, key: string, value: unknown): void {
  Object.defineProperty(holder, key, { value, enumerable: true, configurable: true, writable: true })
}
