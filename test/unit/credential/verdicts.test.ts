import t from 'tap'
import { Credential } from '../../../src/credential/credential.js'
import { Verdicts } from '../../../src/credential/verdicts.js'
import { Secret } from '../../../src/secret.js'

const made = (generation: number): Credential => new Credential(new Secret('t'), generation, 0, undefined)

t.test('row 26: a denial counts as the first one once for each token', async (t) => {
  const verdicts = new Verdicts()
  t.equal(verdicts.firstDenial(made(1)), true)
  t.equal(verdicts.firstDenial(made(1)), false)
})

t.test('row 26: a token that came for a denial and is denied as well shows that the denial is meant', async (t) => {
  const verdicts = new Verdicts()
  verdicts.firstDenial(made(1))
  verdicts.renewed(made(1), made(2), 0)
  t.equal(verdicts.firstDenial(made(2)), false)
  verdicts.accepted(made(2))
  t.equal(verdicts.firstDenial(made(2)), false, 'also after other calls were taken')
  t.equal(verdicts.firstDenial(made(3)), true, 'the next token may be tried once again')
})

t.test('row 26: where a new token mends a denial, the next denial may be mended too', async (t) => {
  const verdicts = new Verdicts()
  verdicts.firstDenial(made(1))
  verdicts.renewed(made(1), made(2), 0)
  verdicts.accepted(made(2))
  t.equal(verdicts.firstDenial(made(2)), true)
})

t.test('F2: a token that came for just that call and is refused by its answer shows that the refusal is meant', async (t) => {
  const verdicts = new Verdicts()
  t.equal(verdicts.worthRenewing(made(1), false), true)
  t.equal(verdicts.worthRenewing(made(1), false), true, 'everybody who was refused with it may have the next one')
  t.equal(verdicts.worthRenewing(made(2), true), false)
  verdicts.accepted(made(2))
  t.equal(verdicts.worthRenewing(made(2), false), false, 'also after other calls were taken')
  t.equal(verdicts.worthRenewing(made(1), false), true, 'who is late may have the newer one, which is there')
  t.equal(verdicts.worthRenewing(made(1), true), false)
  t.equal(verdicts.worthRenewing(made(2), false), false)
  t.equal(verdicts.worthRenewing(made(3), false), true, 'the next token may be tried once again')
})

t.test('row 24: tokens refused one after the other are not renewed at once, until one is accepted', async (t) => {
  const verdicts = new Verdicts()
  t.equal(verdicts.tooEarly(made(1), 0), false)
  verdicts.renewed(made(1), made(2), 0)
  verdicts.renewed(made(1), made(2), 0)
  t.equal(verdicts.tooEarly(made(2), 0), false)
  verdicts.renewed(made(2), made(3), 0)
  t.equal(verdicts.tooEarly(made(3), 499), true)
  t.equal(verdicts.tooEarly(made(3), 500), false)
  verdicts.accepted(made(3))
  t.equal(verdicts.tooEarly(made(3), 0), false)
  t.equal(verdicts.tooEarly(made(4), 0), false)
})
