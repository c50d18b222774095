import { PassThrough } from 'node:stream'
import t from 'tap'
import { askPerson } from '../../../src/cli/ask-person.js'

function terminal () {
  const [input, output] = [new PassThrough(), new PassThrough()]
  return { input, output, stop: new AbortController() }
}

t.test('y and yes go on, anything else does not', async (t) => {
  for (const [line, agreed] of [['y', true], ['Yes', true], [' y ', true], ['', false], ['n', false], ['yesterday', false]] as const) {
    const { input, output, stop } = terminal()
    const answer = askPerson('Go on?', { input, output, stop: stop.signal })
    input.write(`${line}\n`)
    t.equal(await answer, agreed, JSON.stringify(line))
    t.equal(output.read()?.toString(), 'Go on? [y/N] ')
  }
})

t.test('the end of the input, and being told to stop, are a no', async (t) => {
  const closed = terminal()
  const first = askPerson('Go on?', { ...closed, stop: closed.stop.signal })
  closed.input.end()
  t.equal(await first, false)
  const stopped = terminal()
  const second = askPerson('Go on?', { ...stopped, stop: stopped.stop.signal })
  stopped.stop.abort()
  t.equal(await second, false)
})
