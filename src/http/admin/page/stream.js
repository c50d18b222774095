import { EventReader } from './reckon.js'

/** Milliseconds: the next try; no word from a stream that speaks each second. */
const [AGAIN, SILENCE] = [2_000, 10_000]

/**
 * Reads a stream of server-sent events and comes back where it breaks. By fetch, as EventSource sends no Authorization.
 * @param tell `onEvent({ name, data })`, `onState('live' | 'lost' | 'busy')`, `onRefused(status)`: it is over then
 * @returns ends it
 */
export function listen (address, headers, tell) {
  const over = new AbortController()
  void (async () => {
    while (!over.signal.aborted) {
      const state = await once(address, headers, tell, over.signal).catch(() => 'lost')
      if (over.signal.aborted) return
      if (typeof state === 'number') return tell.onRefused(state)
      tell.onState(state)
      await new Promise((resolve) => { setTimeout(resolve, AGAIN) })
    }
  })()
  return () => over.abort()
}

/** @returns why it ended; a status where it is no use to ask again */
async function once (address, headers, { onEvent, onState }, over) {
  const attempt = new AbortController()
  const end = () => attempt.abort()
  over.addEventListener('abort', end, { once: true })
  let heard = performance.now()
  const watch = setInterval(() => { if (performance.now() - heard > SILENCE) end() }, 1_000)
  try {
    const answer = await fetch(address, { headers, signal: attempt.signal, cache: 'no-store', credentials: 'omit', redirect: 'error' })
    if (answer.status >= 400 && answer.status < 500) return answer.status
    if (!answer.ok) return 'busy'
    const [reader, decoder, events] = [answer.body.getReader(), new TextDecoder(), new EventReader()]
    onState('live')
    for (;;) {
      const { done, value } = await reader.read()
      if (over.aborted) return 'lost'
      if (done) return 'lost'
      heard = performance.now()
      for (const event of events.read(decoder.decode(value, { stream: true }))) onEvent(event)
    }
  } finally {
    clearInterval(watch)
    over.removeEventListener('abort', end)
    attempt.abort()
  }
}
