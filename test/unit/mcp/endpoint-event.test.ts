import fc from 'fast-check'
import t from 'tap'
import { EndpointEvent, LateEndpoint } from '../../../src/mcp/endpoint-event.js'

const rewrite = (endpoint: string): string => `/sidecar?was=${encodeURIComponent(endpoint)}`

/** A stream in these pieces: what came of each, and of the end. */
function pass (pieces: readonly Buffer[]): string[] {
  const event = new EndpointEvent(rewrite)
  return [...pieces.map((piece) => event.write(piece).toString()), event.end().toString()]
}

const whole = (text: string): string => pass([Buffer.from(text)]).join('')

const STREAMS: Record<string, [came: string, left: string]> = {
  plain: ['event: endpoint\ndata: /messages?s=1\n\nevent: message\ndata: {}\n\n', 'event: endpoint\ndata: /sidecar?was=%2Fmessages%3Fs%3D1\n\nevent: message\ndata: {}\n\n'],
  'CR LF, and the data first': ['data:/m\r\nevent:endpoint\r\nid: 7\r\n\r\n: ping\r\n\r\n', 'event:endpoint\nid: 7\ndata: /sidecar?was=%2Fm\n\n: ping\r\n\r\n'],
  'CR alone': ['event: endpoint\rdata: /m\r\rdata: x\r\r', 'event: endpoint\ndata: /sidecar?was=%2Fm\n\ndata: x\r\r'],
  'in two lines': ['event: endpoint\ndata: /a\ndata: b\n\n', 'event: endpoint\ndata: /sidecar?was=%2Fa%0Ab\n\n'],
  'behind comments, a priming event and a byte order mark': ['\ufeff: hi\n\nid: 1\nretry: 5\n\n:\nevent: endpoint\n: in between\ndata: /m\n\n', '\ufeff: hi\n\nid: 1\nretry: 5\n\n:\nevent: endpoint\n: in between\ndata: /sidecar?was=%2Fm\n\n'],
  'another first event': ['event: message\ndata: {}\n\nevent: endpoints\ndata: event: endpoint\n\n', 'event: message\ndata: {}\n\nevent: endpoints\ndata: event: endpoint\n\n'],
  'no event name': ['data: /m\n\n', 'data: /m\n\n'],
  'the last event name counts': ['event: message\nevent: endpoint\ndata: /m\nevent: x\n\n', 'event: message\nevent: endpoint\ndata: /m\nevent: x\n\n'],
  'an end without its blank line': ['event: endpoint\ndata: /m\n', 'event: endpoint\ndata: /m\n'],
  'nothing but comments': [': a\n: b\n', ': a\n: b\n'],
  nothing: ['', ''],
  'behind a byte order mark': ['\ufeffevent: endpoint\ndata: /m\n\n', '\ufeffevent: endpoint\ndata: /sidecar?was=%2Fm\n\n'],
  'behind a mark that was encoded twice, which parsers pass over too': ['\ufeff\u00ef\u00bb\u00bfevent: endpoint\r\ndata: /m\r\n\r\n', '\ufeff\u00ef\u00bb\u00bfevent: endpoint\ndata: /sidecar?was=%2Fm\n\n'],
  'nothing but the beginning of a mark': ['\ufeff\u00ef', '\ufeff\u00ef'],
}

for (const [name, [came, left]] of Object.entries(STREAMS)) {
  t.test(`T2: the endpoint of a stream, ${name}, however it is cut`, async (t) => {
    t.equal(whole(came), left)
    const bytes = Buffer.from(came)
    fc.assert(fc.property(fc.array(fc.nat(bytes.length), { maxLength: 6 }), (cuts) => {
      const at = [0, ...cuts.sort((a, b) => a - b), bytes.length]
      return pass(at.slice(1).map((end, i) => bytes.subarray(at[i], end))).join('') === left
    }))
  })
}

t.test('row 31: comments leave as they come, so that a silent stream is kept alive', async (t) => {
  t.same(pass([': ping\n', '\n', ': ping', '\n\n', 'event: endpoint\n', 'data: /m\n\n', 'rest'].map((text) => Buffer.from(text))),
    [': ping\n', '\n', '', ': ping\n\n', '', 'event: endpoint\ndata: /sidecar?was=%2Fm\n\n', 'rest', ''])
})

t.test('T2: an endpoint whose lines end in CR leaves at once, and an LF behind it with nothing', async (t) => {
  t.same(pass(['event: endpoint\rdata: /m\r\r', 'data: x\r\r'].map((text) => Buffer.from(text))), ['event: endpoint\ndata: /sidecar?was=%2Fm\n\n', 'data: x\r\r', ''])
  t.same(pass(['event: endpoint\r\ndata: /m\r\n\r', '\n', '\n', 'data: x\n\n'].map((text) => Buffer.from(text))), ['event: endpoint\ndata: /sidecar?was=%2Fm\n\n', '', '\n', 'data: x\n\n', ''])
  t.same(pass([': ping\r', '\n', ': ping\r\r', 'data: x\r\r'].map((text) => Buffer.from(text))), [': ping\r', '\n', ': ping\r\r', 'data: x\r\r', ''])
})

t.test('row 43: what is too long for an endpoint goes as it came, and is not kept', async (t) => {
  const long = `event: message\ndata: ${'a'.repeat(20_000)}\n\n`
  const half = Buffer.from(long).subarray(0, 10_000)
  t.same(pass([half, Buffer.from(long).subarray(10_000, 17_000), Buffer.from(long).subarray(17_000)]).join(''), long)
  t.equal(whole(long), long)
})

const LATE: Record<string, string> = {
  'behind another event': 'event: message\ndata: {}\n\nevent: endpoint\ndata: http://elsewhere/\n\n',
  'behind the first one': 'event: endpoint\ndata: /m\n\n: and\nevent:endpoint\r\ndata: http://elsewhere/\r\n\r\n',
  'named behind its data': 'data: {}\n\ndata: http://elsewhere/\revent: endpoint\r\r',
  'behind what is too long': `data: ${'a'.repeat(20_000)}\n\nevent: endpoint\ndata: http://elsewhere/\n\n`,
  'behind a byte order mark, and that is too long': `\ufeffevent: endpoint\ndata: http://elsewhere/\nx: ${'a'.repeat(70_000)}\n\n`,
  'behind a mark that was encoded twice, and that is too long': `\u00ef\u00bb\u00bfevent: endpoint\ndata: http://elsewhere/\nx: ${'a'.repeat(70_000)}\n\n`,
  'that is too long, however': `${': hi\n'.repeat(9)}event: endpoint\ndata: http://elsewhere/?${'a'.repeat(70_000)}\n\n`,
}

for (const [where, stream] of Object.entries(LATE)) {
  t.test(`row 40: a stream that names an endpoint ${where} is not passed on, however it is cut`, async (t) => {
    const bytes = Buffer.from(stream)
    for (const size of [1, 3, 16, 17, 4096, ...stream.length > 60_000 ? [] : [bytes.length]]) {
      const event = new EndpointEvent(rewrite)
      let left = ''
      t.throws(() => { for (let at = 0; at < bytes.length; at += size) left += event.write(bytes.subarray(at, at + size)).toString() }, LateEndpoint, `${size} bytes at once`)
      t.notMatch(left, /event: ?endpoint[\r\n]+data: http/)
      t.notMatch(left, /elsewhere.*[\r\n]{2}$/)
    }
  })
}
