import { byId, say } from './dom.js'
import { time } from './reckon.js'

const [WIDTH, HEIGHT, FLOOR, ROOF] = [720, 180, 150, 40]

/** Draws how many calls cost how much; the promise is that they end left of the line. @param target seconds, one of the bounds */
export function draw ({ plain, refreshed }, target) {
  const { bounds } = plain.bounds.length > 0 ? plain : refreshed
  const holder = byId('histogram')
  if (bounds.length === 0) return holder.replaceChildren()
  const stacks = [...bounds, Infinity].map((bound, i) => ({ bound, plain: plain.counts[i] ?? 0, refreshed: refreshed.counts[i] ?? 0 }))
  const most = Math.max(1, ...stacks.map((stack) => stack.plain + stack.refreshed))
  const step = WIDTH / stacks.length
  const svg = shape('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-label': described(stacks) })
  svg.append(shape('line', { class: 'axis', x1: 0, x2: WIDTH, y1: FLOOR, y2: FLOOR }))
  stacks.forEach((stack, i) => {
    let top = FLOOR
    for (const kind of ['plain', 'refreshed']) {
      if (stack[kind] === 0) continue
      // A single call among a million shall be seen.
      const height = Math.max(2, (FLOOR - ROOF) * stack[kind] / most)
      top -= height
      svg.append(shape('rect', { class: kind, x: i * step + 3, y: top, width: step - 6, height, rx: 2 }))
    }
    const count = stack.plain + stack.refreshed
    if (count > 0) svg.append(shape('text', { x: (i + 0.5) * step, y: top - 4, class: count * 20 < most ? 'minor' : '' }, compact(count)))
    if (stack.bound !== Infinity) svg.append(shape('text', { x: (i + 1) * step, y: FLOOR + 22, class: i % 3 === 1 ? '' : 'minor' }, time(stack.bound).replace(' ', '\u202f')))
  })
  const x = (bounds.indexOf(target) + 1) * step
  svg.append(shape('line', { class: 'target', x1: x, x2: x, y1: 4, y2: FLOOR }), shape('text', { class: 'target', x: x - 5, y: 18 }, `target ${time(target)}`))
  holder.replaceChildren(svg)
}

function shape (name, attributes, text = '') {
  const element = document.createElementNS('http://www.w3.org/2000/svg', name)
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value)
  if (text !== '') say(element, text)
  return element
}

function described (stacks) {
  const parts = stacks.filter((stack) => stack.plain + stack.refreshed > 0)
    .map((stack) => `${stack.plain + stack.refreshed} ${stack.bound === Infinity ? 'above that' : `up to ${time(stack.bound)}`}`)
  return parts.length === 0 ? 'Overhead: no call yet' : `Overhead of calls: ${parts.join(', ')}`
}

function compact (count) {
  return count < 10_000 ? String(count) : `${Math.round(count / 1000)}k`
}
