import fc from 'fast-check'
import t from 'tap'
import { ByteCollector } from '../../../src/upstream/byte-collector.js'

function collect (pieces: Iterable<Buffer>): ByteCollector {
  const collector = new ByteCollector()
  for (const piece of pieces) collector.add(piece)
  return collector
}

t.test('row 28: bytes are the same, however they came', async () => {
  const piece = fc.oneof(fc.uint8Array({ maxLength: 3 }), fc.uint8Array({ maxLength: 5_000 }))
  fc.assert(fc.property(fc.array(piece, { maxLength: 40 }), (came) => {
    const pieces = came.map((bytes) => Buffer.from(bytes))
    const all = Buffer.concat(pieces)
    const collector = collect(pieces)
    return collector.length === all.length && Buffer.concat(collector.pieces()).equals(all) && collector.whole().equals(all)
  }))
})

t.test('row 28: what was looked at meanwhile stays as it was', async (t) => {
  const collector = collect([Buffer.from('a'), Buffer.from('b'), Buffer.from('c')])
  const before = collector.pieces().map(String).join('')
  collector.add(Buffer.from('d'))
  collector.add(Buffer.from('e'))
  t.equal(before, 'abc')
  t.equal(collector.pieces().map(String).join(''), 'abcde')
  t.equal(String(collector.whole()), 'abcde')
})

t.test('row 28: as few pieces are held as bytes need, however small they come', async (t) => {
  const count = (pieces: Buffer[]): number => collect(pieces).pieces().length
  const one = Buffer.from('x')
  t.equal(count([]), 0)
  t.ok(count(Array<Buffer>(300_000).fill(one)) < 100, 'one byte each')
  t.ok(count(Array.from({ length: 20_000 }, (_, i) => i % 2 === 0 ? one : Buffer.alloc(1_023))) < 3_500, 'nearly large ones with a byte between them')
  t.ok(count(Array.from({ length: 2_000 }, (_, i) => i % 2 === 0 ? one : Buffer.alloc(1_024))) <= 2_000)
})

t.test('O1: one piece, or a few large ones, are not copied', async (t) => {
  for (const size of [1, 300, 100_000]) {
    const piece = Buffer.alloc(size)
    t.equal(collect([Buffer.alloc(0), piece]).whole(), piece)
  }
  const large = [Buffer.alloc(2_000), Buffer.alloc(70_000)]
  t.same(collect(large).pieces().map((piece, i) => piece === large[i]), [true, true])
})
