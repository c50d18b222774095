import fc from 'fast-check'
import t from 'tap'
import type { ToolRules } from '../../../src/config/config.js'
import { compileGlob } from '../../../src/policy/glob.js'
import { compilePolicy, ToolPolicies } from '../../../src/policy/tool-policy.js'

const rules = (allow: string[] = ['*'], deny: string[] = []): ToolRules => ({ allow, deny })
const CALLER = { session: 's', principal: 'alice', agent: 'a' }

t.test('T1: where everything is allowed there is no policy at all', async (t) => {
  for (const open of [[], [undefined], [rules()], [rules(['**'])], [rules(['a', '*'])], [rules(), undefined, rules(['x', '*'])]]) t.equal(compilePolicy(open), undefined)
  for (const closed of [[rules([])], [rules(['a'])], [rules(['?*'])], [rules(['*'], ['a'])], [undefined, rules(), rules(['*'], ['*'])]]) t.ok(compilePolicy(closed))
})

t.test('T1: deny wins, and each set of rules must allow', async (t) => {
  const policy = compilePolicy([rules(['search_*', 'add']), undefined, rules(['*'], ['search_mail', 'x?']), rules(['*_*', 'add'])])
  t.same(['search_notes', 'search_mail', 'add', 'x_y', 'ad', ''].map((tool) => policy?.allows(tool)), [true, false, true, false, false, false])
  t.equal(compilePolicy([rules(['a'], ['a'])])?.allows('a'), false)
  t.equal(compilePolicy([rules(['*'], ['*'])])?.allows('a'), false)
})

t.test('T1: a name that is none is allowed by no policy', async (t) => {
  const policy = compilePolicy([rules(['*'], ['admin'])])
  for (const name of ['admin\0', 'a\nb', 'a\u007f', 'a\u0085', 'a\ud800', '\udc00a', 'x'.repeat(513)]) t.equal(policy?.allows(name), false)
  for (const name of ['', ' ', 'ä', '\u{1f600}', 'x'.repeat(512)]) t.equal(policy?.allows(name), true)
})

t.test('T1: many sets of rules are one policy: the intersection of what they allow, less all that they deny', async (t) => {
  const pattern = fc.array(fc.constantFrom('a', 'b', '*', '?'), { maxLength: 4 }).map((signs) => signs.join(''))
  const some = fc.record({ allow: fc.array(pattern, { maxLength: 3 }), deny: fc.array(pattern, { maxLength: 2 }) })
  fc.assert(fc.property(fc.array(fc.option(some, { nil: undefined }), { maxLength: 4 }), fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 5 }), (sets, name) => {
    const expected = sets.every((set) => set === undefined || set.allow.some((one) => compileGlob(one)(name))) && !sets.some((set) => set?.deny.some((one) => compileGlob(one)(name)))
    return (compilePolicy(sets)?.allows(name) ?? true) === expected
  }), { numRuns: 2_000 })
  t.pass()
})

t.test('T1: thousands of names and globs', async (t) => {
  const many = Array.from({ length: 5_000 }, (_, i) => i % 5 === 0 ? `glob_${i}_*` : `tool_${i}`)
  const policy = compilePolicy([rules(many, ['tool_2'])])
  t.same(['tool_1', 'tool_2', 'tool_5', 'glob_4995_x', 'glob_4996_x'].map((tool) => policy?.allows(tool)), [true, false, false, true, false])
})

t.test('T1: a caller has the rules of the upstream, of its principal as they are now, and of its session', async (t) => {
  let principal: ToolRules | undefined
  const policies = new ToolPolicies((id) => id === 'alice' && principal !== undefined ? [principal] : [])
  const open = { tools: rules() }
  const upstream = { tools: rules(['*'], ['u']) }
  const may = (caller: Parameters<typeof policies.find>[0], at: { tools: ToolRules }): string =>
    ['u', 'p', 's', 'x'].filter((tool) => policies.find(caller, at)?.allows(tool) ?? true).join('')

  t.equal(policies.find(undefined, open), undefined)
  t.equal(policies.find(CALLER, open), undefined)
  t.equal(may(undefined, upstream), 'psx')
  t.equal(policies.find(CALLER, upstream), policies.find(CALLER, upstream), 'compiled once')
  const session = { ...CALLER, tools: rules(['*'], ['s']) }
  t.equal(may(session, upstream), 'px')
  t.equal(may(session, open), 'upx')
  principal = rules(['*'], ['p'])
  t.equal(may(session, upstream), 'x', 'a principal that was changed is so for its next call')
  t.equal(may(undefined, upstream), 'psx')
  t.equal(may({ ...CALLER, principal: 'bob' }, upstream), 'psx')
  principal = undefined
  t.equal(may(session, upstream), 'px')
  t.equal(may({ ...CALLER, tools: rules() }, open), 'upsx')
})
