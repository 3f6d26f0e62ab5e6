// The table of deployments: few row nodes over a tall pane. Rows never move under the
// pointer: while somebody uses the table, its order holds.

import { $, age, capital, el, format, mark, muted, say, setText } from './dom.js'
import { crash, stop } from './api.js'
import { model, placeWord } from './model.js'

const URGENCY = ['error', 'pending', 'terminating', 'ready']
const KEYS = {
  state: (it) => URGENCY.indexOf(it.group),
  application: (it) => `${it.application} ${it.version}`,
  place: (it) => it.place.city,
  age: (it) => -it.created,
}
// Row nodes beyond those that are seen.
const SPARE = 3

const narrow = matchMedia('(max-width: 640px)')
const scroll = $('scroll')
const pool = []
const table = {
  rows: [],
  sort: 'state',
  down: false,
  group: '',
  words: [],
  active: -1,
  open: null,
  held: false,
  missed: 0,
}
let openDetails = () => {}

const rowHeight = () => (narrow.matches ? 52 : 34)
const headHeight = () => (narrow.matches ? 0 : 31)

export function buildTable(onOpen) {
  openDetails = onOpen
  scroll.addEventListener('scroll', paint)
  new ResizeObserver(paint).observe(scroll)
  $('filter').addEventListener('input', () => {
    refilter()
    say(`${format(table.rows.length)} of ${format(model.deployments.size)} deployments`)
  })
  $('clear-filter').addEventListener('click', () => {
    $('filter').value = ''
    chooseGroup('')
    $('filter').focus()
  })
  for (const chip of chips()) {
    chip.addEventListener('click', () => {
      chooseGroup(table.group === chip.dataset.group ? '' : chip.dataset.group)
    })
  }
  for (const button of document.querySelectorAll('.head button')) {
    button.addEventListener('click', () => sortBy(button))
  }
  addEventListener('keydown', (event) => {
    if (event.key !== '/' || /INPUT|SELECT/.test(event.target.tagName)) return
    event.preventDefault()
    $('filter').select()
  })
  listenToUse()
}

const chips = () => document.querySelectorAll('.chip')

function chooseGroup(group) {
  table.group = group
  for (const chip of chips()) {
    chip.setAttribute('aria-pressed', chip.dataset.group === group)
  }
  refilter()
}

export function choosePlace(city) {
  $('filter').value = placeWord(city)
  refilter()
}

function sortBy(button) {
  const sort = button.dataset.sort
  table.down = table.sort === sort && !table.down
  table.sort = sort
  for (const head of document.querySelectorAll('.head [aria-sort]')) {
    head.removeAttribute('aria-sort')
  }
  button.parentNode.setAttribute('aria-sort', table.down ? 'descending' : 'ascending')
  refilter()
}

const passes = (it) =>
  (!table.group || it.group === table.group) &&
  table.words.every((word) => it.words.includes(word))

function refilter() {
  table.words = $('filter').value.toLowerCase().split(/\s+/).filter(Boolean)
  const key = KEYS[table.sort]
  const sign = table.down ? -1 : 1
  const active = table.rows[table.active]
  table.rows = [...model.deployments.values()]
    .filter(passes)
    .map((it) => [key(it), it])
    .sort((a, b) => sign * compare(a, b))
    .map(([, it]) => it)
  table.active = active ? table.rows.indexOf(active) : -1
  table.missed = 0
  paint()
}

// Of equals, the longest pending comes first, and of others the newest.
function compare([keyA, a], [keyB, b]) {
  if (keyA !== keyB) return keyA < keyB ? -1 : 1
  return a.group === 'pending' ? a.created - b.created : b.created - a.created
}

export function tableChanged(added) {
  table.missed += added.filter(passes).length
  if (table.held) paint()
  else refilter()
}

export function tableReplaced() {
  table.active = -1
  scroll.scrollTop = 0
  refilter()
}

// ---- the order holds while the table is used ------------------------------------------

const isUsed = () =>
  Boolean(table.open) ||
  scroll.scrollTop > 4 ||
  scroll.matches(':hover') ||
  scroll.contains(document.activeElement)

function hold(held) {
  if (table.held === held) return
  table.held = held
  if (held) paint()
  else refilter()
}

const holdIfUsed = () => hold(isUsed())

function listenToUse() {
  scroll.addEventListener('pointerenter', () => hold(true))
  scroll.addEventListener('pointerleave', holdIfUsed)
  scroll.addEventListener('focusout', () => setTimeout(holdIfUsed))
  scroll.addEventListener('focus', () => {
    hold(true)
    if (table.active >= 0 || !table.rows.length) return
    table.active = Math.ceil(scroll.scrollTop / rowHeight())
    paint()
  })
  scroll.addEventListener('keydown', onKey)
  $('held').addEventListener('click', () => {
    scroll.scrollTop = 0
    table.held = false
    refilter()
  })
}

function onKey(event) {
  if (event.target !== scroll) return
  const seen = scroll.clientHeight - headHeight()
  const page = Math.floor(seen / rowHeight())
  const moves = {
    ArrowDown: 1,
    ArrowUp: -1,
    PageDown: page,
    PageUp: -page,
    Home: -Infinity,
    End: Infinity,
  }
  const current = table.rows[table.active]
  if (event.key in moves) {
    event.preventDefault()
    const last = table.rows.length - 1
    table.active = Math.max(0, Math.min(last, table.active + moves[event.key]))
    const top = table.active * rowHeight()
    if (top < scroll.scrollTop) scroll.scrollTop = top
    const bottom = top + rowHeight() - seen
    if (bottom > scroll.scrollTop) scroll.scrollTop = bottom
    paint()
  } else if (event.key === 'Enter' && current) {
    event.preventDefault()
    openDetails(current)
  }
}

export function showOpen(it) {
  table.open = it
  if (it) table.held = true
  else setTimeout(holdIfUsed)
  paint()
}

export const focusTable = () => scroll.focus({ preventScroll: true })

// ---- rows -----------------------------------------------------------------------------

const CELLS = [
  'c-state',
  'c-id mono',
  'c-app',
  'c-tags',
  'c-place',
  'c-age num',
  'c-ports mono',
]

function makeRow() {
  const cells = CELLS.map((className) => el('div', { className, role: 'gridcell' }))
  const row = { node: el('div', { role: 'row' }, ...cells), it: null, look: '' }
  for (const cell of cells) row[cell.classList[0].slice(2)] = cell
  const button = (name, act) =>
    el('button', {
      className: 'button small',
      textContent: name,
      tabIndex: -1,
      onclick: (event) => {
        event.stopPropagation()
        act(row.it.id)
      },
    })
  row.crash = button('Crash', crash)
  row.acts = el(
    'div',
    { className: 'acts', role: 'gridcell' },
    row.crash,
    button('Stop', stop),
  )
  row.node.append(row.acts)
  row.node.addEventListener('click', () => {
    table.active = row.index
    openDetails(row.it)
  })
  $('pane').append(row.node)
  return row
}

export function paint() {
  const height = rowHeight()
  const total = table.rows.length
  const first = Math.max(0, Math.floor(scroll.scrollTop / height) - SPARE)
  const room = Math.ceil(scroll.clientHeight / height) + 2 * SPARE
  const shown = Math.max(0, Math.min(total - first, room))
  $('pane').style.height = `${total * height}px`
  scroll.setAttribute('aria-rowcount', total + 1)
  while (pool.length < shown) pool.push(makeRow())
  pool.forEach((row, i) => {
    row.node.hidden = i >= shown
    if (i < shown) paintRow(row, first + i, table.rows[first + i], height)
  })
  paintAround(total)
}

function paintRow(row, index, it, height) {
  row.index = index
  row.node.id = `row-${index}`
  row.node.style.transform = `translateY(${index * height}px)`
  row.node.setAttribute('aria-rowindex', index + 2)
  if (row.it !== it) {
    row.it = it
    row.look = ''
    setText(row.id, it.id)
    setText(row.app, `${it.application} / ${it.version}`)
    row.app.title = row.app.textContent
    setText(row.place, it.place.city)
  }
  const look = [it.state, it.gone, it.stopping, it.ports.length, ...it.tags].join('\n')
  if (row.look !== look) {
    row.look = look
    row.state.replaceChildren(...stateOf(it))
    row.tags.replaceChildren(...it.tags.map(tagOf))
    row.tags.title = it.tags.join(', ')
    setText(row.ports, portsOf(it))
    row.acts.hidden = it.gone
    row.crash.disabled = it.group !== 'ready'
  }
  setText(row.age, age(model.now - it.created))
  const classes = {
    active: index === table.active,
    open: it === table.open,
    gone: it.gone,
  }
  const names = Object.keys(classes).filter((name) => classes[name])
  row.node.className = ['cols', 'rowline', ...names].join(' ')
}

export const tagOf = (tag) => el('span', { className: 'tag', textContent: tag })

export function stateOf(it) {
  if (it.gone) return [el('span', { className: 'mark' }), ' Terminated']
  const more = it.group === 'pending' ? it.state.toLowerCase() : ''
  const stopping = it.stopping && it.group === 'pending' ? ', will stop' : ''
  return [mark(it.group), ` ${capital(it.group)} `, muted(more + stopping)]
}

function portsOf(it) {
  const [first, ...rest] = it.ports
  if (!first) return '–'
  return `${first.internal}→${first.external}${rest.length ? ` +${rest.length}` : ''}`
}

function paintAround(total) {
  const all = model.deployments.size
  setText(
    $('shown'),
    total === all ? format(total) : `${format(total)} of ${format(all)}`,
  )
  $('held').hidden = !(table.held && table.missed)
  setText($('held'), `Order held · ${format(table.missed)} new`)
  $('nothing-matches').hidden = total > 0 || all === 0
  $('nothing-runs').hidden = total > 0 || all > 0
  if (table.active >= 0)
    scroll.setAttribute('aria-activedescendant', `row-${table.active}`)
  else scroll.removeAttribute('aria-activedescendant')
}
