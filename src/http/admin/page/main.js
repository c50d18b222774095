import { showFigures } from './calls.js'
import { byId, say } from './dom.js'
import { namesShown, tick } from './names.js'
import { History } from './reckon.js'
import { listen } from './stream.js'

/** Where the token is kept: for this tab, and not beyond it. */
const KEY = 'mcp-valet.admin-token'
const STATES = { live: ['live', 'good'], lost: ['connection lost: trying again …', 'bad'], busy: ['not served now: trying again …', 'warn'] }

const history = new History()
const names = namesShown(ask)
let token = sessionStorage.getItem(KEY)
let principal = ''
let end = () => {}
/** The sidecar's clock, and when that was here. */
let clock

function watch () {
  end()
  history.forget()
  clock = undefined
  byId('names').hidden = true
  const address = token === null ? 'figures' : `v1/events${principal === '' ? '' : `?principal=${encodeURIComponent(principal)}`}`
  end = listen(address, token === null ? {} : { authorization: `Bearer ${token}` }, {
    onState (state) {
      say(byId('live'), STATES[state][0])
      byId('live').className = `pill ${STATES[state][1]}`
      if (state !== 'live') return
      history.forget()
      names.clear()
    },
    onEvent ({ name, data }) {
      name === 'figures' ? figures(data) : names[name]?.(data)
      ticked()
    },
    onRefused: refused,
  })
}

function figures (data) {
  history.add(data)
  clock = { at: Date.parse(data.at), here: performance.now() }
  showFigures(data, history)
  byId('names').hidden = token === null
  byId('locked').hidden = token !== null || !data.api
  byId('off').hidden = token !== null || data.api
}

function ticked () {
  if (clock !== undefined) tick(clock.at + performance.now() - clock.here)
}

/** The stream is not to be had this way. */
function refused (status) {
  if (token === null) return say(byId('live'), `refused with ${status}: this page is served at another name`)
  if (status === 400 && principal !== '') {
    byId('principal').value = principal = ''
    return watch()
  }
  forget(status === 401 ? 'This is not the admin token.' : 'The admin API is off.')
}

function forget (why) {
  token = null
  sessionStorage.removeItem(KEY)
  names.clear()
  say(byId('unlock-error'), why)
  watch()
}

async function ask (method, path) {
  const answer = await fetch(`v1/${path}`, { method, headers: { authorization: `Bearer ${token}` }, cache: 'no-store', credentials: 'omit', redirect: 'error' })
    .catch(() => { throw new Error('mcp-valet cannot be reached.') })
  if (answer.ok) return
  const { error } = await answer.json().catch(() => ({ error: { message: `it was answered with ${answer.status}`, details: [] } }))
  throw new Error(error.details.length === 0 ? error.message : error.details.map(({ message }) => message).join('; '))
}

byId('unlock').addEventListener('submit', (event) => {
  event.preventDefault()
  const given = byId('token').value.trim()
  byId('token').value = ''
  if (!/^[\x21-\x7e]{1,4096}$/.test(given)) return say(byId('unlock-error'), 'This is not the admin token.')
  say(byId('unlock-error'), '')
  token = given
  sessionStorage.setItem(KEY, given)
  watch()
})
byId('filter').addEventListener('submit', (event) => {
  event.preventDefault()
  principal = byId('principal').value.trim()
  watch()
})
byId('lock').addEventListener('click', () => forget(''))

setInterval(ticked, 1_000)
watch()
