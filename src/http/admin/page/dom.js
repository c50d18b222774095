import { shown } from './reckon.js'

export function byId (id) {
  return document.getElementById(id)
}

/** Sets a text only where it changes, so that a selection stays. */
export function say (element, text) {
  if (element.textContent !== text) element.textContent = text
}

/** An element with a text in it. A text is never markup here. */
export function make (name, className = '', text = '') {
  const element = document.createElement(name)
  if (className !== '') element.className = className
  element.textContent = text
  return element
}

/** Rows of a table that stay the same elements while their entries change, so that focus and selection stay where they are. */
export class Rows {
  #table
  #labels
  #fill
  #rows = new Map()

  /**
   * @param id of the table
   * @param fill is given a row's cells and its entry
   */
  constructor (id, fill) {
    this.#table = byId(id).tBodies[0]
    this.#labels = [...byId(id).tHead.rows[0].cells].map((cell) => {
      cell.setAttribute('role', 'columnheader')
      return cell
    })
    this.#fill = fill
  }

  /** @param entries in the order in which they shall stand */
  show (entries, keyOf) {
    const gone = new Set(this.#rows.keys())
    entries.forEach((entry, place) => {
      const key = keyOf(entry)
      gone.delete(key)
      const row = this.#rows.get(key) ?? this.#open(key)
      this.#fill(row.cells, entry, row.element)
      if (this.#table.children[place] !== row.element) this.#table.insertBefore(row.element, this.#table.children[place] ?? null)
    })
    for (const key of gone) {
      const { element } = this.#rows.get(key)
      // Who was there with the keyboard shall not begin again at the top.
      if (element.contains(document.activeElement)) this.#table.parentElement.focus()
      element.remove()
      this.#rows.delete(key)
    }
  }

  #open (key) {
    const element = make('tr')
    element.setAttribute('role', 'row')
    const cells = this.#labels.map((label) => {
      const cell = make('td', label.className)
      cell.setAttribute('role', 'cell')
      cell.dataset.label = label.textContent
      const value = make('bdi', 'value')
      cell.append(value)
      element.append(cell)
      return value
    })
    const row = { element, cells }
    this.#rows.set(key, row)
    return row
  }
}

/** Somebody else's name. */
export function name (element, text) {
  say(element, shown(text))
}

/** Asks a person. @returns whether it shall be done */
export function sure (question, yes) {
  const dialog = byId('sure')
  say(byId('sure-text'), question)
  say(byId('sure-yes'), yes)
  dialog.showModal()
  byId('sure-no').focus()
  return new Promise((resolve) => {
    const close = (answer) => {
      byId('sure-yes').onclick = byId('sure-no').onclick = dialog.onclose = null
      dialog.close()
      resolve(answer)
    }
    byId('sure-yes').onclick = () => close(true)
    byId('sure-no').onclick = () => close(false)
    dialog.onclose = () => close(false)
  })
}
