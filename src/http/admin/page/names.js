import { byId, make, name, Rows, say, sure } from './dom.js'
import { relative, shown } from './reckon.js'

const STATES = { valid: 'good', expiring: 'good', expired: 'warn', failed: 'bad', revoked: 'bad' }
const LEVELS = { warn: 'warn', error: 'bad' }
/** Fields of an event that have a column of their own, or say nothing beyond its sentence. */
const TOLD = new Set(['principal', 'agent', 'upstream', 'outcome'])
const MOST_EVENTS = 200

/**
 * Credentials, sessions and events: what has names in it.
 * @param ask does a request of /v1, as `ask('POST', path)`; throws an Error with a sentence for the person
 */
export function namesShown (ask) {
  const credentials = new Rows('credentials', (cells, credential, row) => {
    const [principal, upstream, type, state, expires, refreshed, error, action] = cells
    name(principal, credential.principal)
    name(upstream, credential.upstream)
    say(type, credential.type)
    say(state, credential.state)
    state.className = `value ${STATES[credential.state] ?? ''}`
    until(expires, credential.expires_at)
    until(refreshed, credential.refreshed_at)
    say(error, credential.error === null ? '' : shown(credential.error, 200))
    error.className = 'value error'
    button(action, 'Refresh', `${shown(credential.principal)} at ${shown(credential.upstream)}`, row, {
      question: `Renew the credential of ${shown(credential.principal)} at ${shown(credential.upstream)} now?`,
      act: async () => await ask('POST', `credentials/${encodeURIComponent(credential.principal)}/${encodeURIComponent(credential.upstream)}/refresh`),
      done: 'refreshed',
    })
  })
  const sessions = new Rows('sessions', (cells, session, row) => {
    const [agent, principal, id, tools, source, ends, action] = cells
    name(agent, session.agent)
    name(principal, session.principal)
    say(id, session.id)
    id.className = 'value mono'
    say(tools, rules(session.tools))
    say(source, session.source)
    session.expires_at === null ? say(ends, 'never') : until(ends, session.expires_at)
    button(action, 'Revoke', `${shown(session.agent)} of ${shown(session.principal)}`, row, {
      question: `End the session of ${shown(session.agent)} (${shown(session.principal)})? Its next call is refused, and its open streams end.`,
      act: async () => await ask('DELETE', `sessions/${encodeURIComponent(session.id)}`),
      done: 'revoked',
    })
  })
  const events = new Rows('events', (cells, event) => {
    const [when, what, who, where, more] = cells
    until(when, event.at)
    say(what, `${event.message}${event.count > 1 ? ` (${event.count} times)` : ''}`)
    what.className = `value ${LEVELS[event.level] ?? ''}`
    name(who, [event.fields.principal, event.fields.agent].filter(Boolean).map((text) => shown(text, 40)).join(' / '))
    name(where, event.fields.upstream ?? '')
    say(more, Object.entries(event.fields).filter(([field]) => !TOLD.has(field)).map(([field, value]) => `${field} ${shown(value, 100)}`).join(', '))
  })
  const kept = new Map()

  return {
    /** What a stream tells first is all that there is. */
    clear () {
      kept.clear()
      for (const rows of [credentials, sessions, events]) rows.show([], String)
    },
    credentials ({ items, total }) {
      say(byId('credentials-count'), counted(items, total))
      credentials.show(items, ({ principal, upstream }) => `${principal}\n${upstream}`)
    },
    sessions ({ items, total }) {
      say(byId('sessions-count'), counted(items, total))
      sessions.show(items, ({ id }) => id)
    },
    authentication ({ events: news }) {
      const first = kept.size === 0
      for (const event of news) kept.set(event.id, event)
      const latest = [...kept.values()].sort((a, b) => b.seq - a.seq)
      for (const event of latest.splice(MOST_EVENTS)) kept.delete(event.id)
      events.show(latest, ({ id }) => id)
      if (!first) announce(latest[0])
    },
  }
}

/** Brings the times up to date. @param now milliseconds since the epoch, by the sidecar's clock */
export function tick (now) {
  for (const element of document.querySelectorAll('[data-until]')) say(element, relative(Number(element.dataset.until), now))
}

function until (element, date) {
  if (date === null) {
    delete element.dataset.until
    element.removeAttribute('title')
    return say(element, '')
  }
  element.dataset.until = String(Date.parse(date))
  element.title = date
}

function rules (tools) {
  if (tools === null) return 'all'
  const allowed = tools.allow.length === 0 ? 'none' : tools.allow.map((glob) => shown(glob, 40)).join(', ')
  return shown(allowed + (tools.deny.length === 0 ? '' : `; not ${tools.deny.map((glob) => shown(glob, 40)).join(', ')}`), 160)
}

function counted (items, total) {
  return items.length === total ? String(total) : `${items.length} of ${total}, the most urgent first`
}

function announce ({ message, fields }) {
  say(byId('news'), [message, fields.principal, fields.upstream].filter(Boolean).map((text) => shown(text)).join(', '))
}

/** A button that asks before it acts, and says beside itself where that failed. */
function button (cell, label, about, row, { question, act, done }) {
  cell.closest('td').classList.add('action')
  if (cell.firstElementChild === null) cell.append(make('button', '', label), make('span', 'error'))
  const [press, error] = cell.children
  press.type = 'button'
  press.setAttribute('aria-label', `${label} ${about}`)
  error.setAttribute('role', 'alert')
  press.onclick = async () => {
    if (!await sure(question, label)) return press.focus()
    press.disabled = true
    say(error, '')
    try {
      await act()
      say(byId('news'), `${about}: ${done}`)
    } catch (problem) {
      say(error, `${label} failed: ${shown(problem.message, 300)}`)
    } finally {
      press.disabled = false
      if (row.isConnected) press.focus()
    }
  }
}
