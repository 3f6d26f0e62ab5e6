// The panel of faults: the usual ones, and all that are active. A switch adds or clears
// a fault, the slider sets its share.

import { $, el, format, setText } from './dom.js'
import { change, get } from './api.js'
import { model } from './model.js'

const USUAL = [
  ['deployments.deploy', 'cut-after', 0.05, 'Lose the answer to a deploy'],
  ['deployments.deploy', '422', 0.05, 'No capacity'],
  ['deployments.deploy', 'late', 0.05, 'Answer a deploy late', 20],
  ['deployments.deploy', '429', 0.05, 'Refuse a deploy although the limit is kept'],
  ['deployments.deploy', 'twice-first', 0.05, 'Start two servers for one deploy', 1],
  ['deployments.status', '502-before', 0.05, '502 for a status'],
  ['deployments.list', 'lag', 1, 'The list lags', 3],
  ['deployments.list', 'filters-ignored', 1, 'List filters are ignored'],
  ['deployments.stop', '500-before', 0.05, 'A stop fails'],
  ['webhook', 'lost', 0.1, 'A webhook is never sent'],
  ['webhook', 'duplicated', 0.1, 'A webhook is sent twice'],
]

const rows = new Map()
const keyOf = (operation, kind) => `${operation} ${kind}`
const described = (about) =>
  about.replaceAll('SECONDS', 'some seconds').replaceAll('FIELDS', 'some fields')
const short = (operation) => operation.replace(/^deployments\./, '')
let kinds = new Map()

export async function buildFaults() {
  kinds = new Map((await get('faults/kinds')).kinds.map((each) => [each.kind, each]))
  for (const [operation, kind, share, title, seconds] of USUAL) {
    addRow({ operation, kind, share, seconds: seconds ?? null }, title)
  }
  $('p-faults').append(otherFault())
  paintFaults()
}

function addRow({ operation, kind, share, seconds }, title) {
  const about = kinds.get(kind)
  const row = { operation, kind, share, seconds, on: false }
  const name = title ?? `${short(operation)}: ${kind}`
  row.toggle = el('input', { type: 'checkbox', className: 'switch', role: 'switch' })
  row.range = el('input', {
    type: 'range',
    min: 0,
    max: 100,
    step: 'any',
    ariaLabel: `${name}: share of requests`,
  })
  row.output = el('output')
  row.injected = el('span', { className: 'injected' })
  const words = el(
    'span',
    { className: 'words' },
    name,
    el(
      'small',
      {},
      described(about.about),
      ' · ',
      el('code', { textContent: `${short(operation)}:${kind}` }),
    ),
  )
  row.more = el('div', { className: 'more', hidden: true }, row.range, row.output)
  if (about.takes === 'seconds') row.more.append(...secondsOf(row, name))
  row.more.append(row.injected)
  row.node = el(
    'div',
    { className: 'fault' },
    el('label', { className: 'top-line' }, row.toggle, words),
    row.more,
  )
  row.toggle.addEventListener('change', () => {
    const on = row.toggle.checked
    row.more.hidden = !on
    row.node.classList.toggle('on', on)
    if (on) send(row)
    else clear(row)
  })
  // A square scale: small shares need the room, and 0.1 % must be reachable.
  row.range.addEventListener('input', () => {
    row.share = (row.range.value / 100) ** 2
    paintShare(row)
  })
  row.range.addEventListener('change', () => send(row))
  row.range.value = Math.sqrt(share) * 100
  paintShare(row)
  rows.set(keyOf(operation, kind), row)
  const last = $('p-faults').querySelector('.add')
  if (last) last.before(row.node)
  else $('p-faults').append(row.node)
  return row
}

function secondsOf(row, name) {
  const input = el('input', {
    type: 'number',
    min: 0,
    step: 'any',
    value: row.seconds ?? 1,
    ariaLabel: `${name}: seconds`,
  })
  input.addEventListener('change', () => {
    if (!input.checkValidity() || input.value === '') return
    row.seconds = Number(input.value)
    send(row)
  })
  row.input = input
  return [input, el('span', { className: 'muted', textContent: 's' })]
}

// Until the events tell what was changed, they would set the row back.
const SETTLED_AFTER = 300

async function changed(row, method, path, body) {
  row.changes = (row.changes ?? 0) + 1
  const answer = await change(method, path, body)
  if (answer) model.faults = answer.faults
  setTimeout(
    () => {
      row.changes -= 1
      paintFaults()
    },
    answer ? SETTLED_AFTER : 0,
  )
}

function send(row) {
  const { operation, kind, share, seconds } = row
  const body = {
    operation: short(operation),
    kind,
    share: Number(share.toFixed(4)),
    replace: true,
  }
  if (kinds.get(kind).takes === 'seconds') body.seconds = seconds ?? 1
  return changed(row, 'POST', 'faults', body)
}

function clear(row) {
  const query = new URLSearchParams({ operation: short(row.operation), kind: row.kind })
  return changed(row, 'DELETE', `faults?${query}`)
}

const percent = (share) => {
  const value = share * 100
  return `${value < 1 ? value.toFixed(1) : Math.round(value)} %`
}

function paintShare(row) {
  setText(row.output, percent(row.share))
  row.range.setAttribute('aria-valuetext', percent(row.share))
}

export function paintFaults() {
  if (!kinds.size) return
  const active = new Map(
    model.faults.map((each) => [keyOf(each.operation, each.kind), each]),
  )
  for (const [key, fault] of active) if (!rows.has(key)) addRow(fault)
  for (const [key, row] of rows) paintRow(row, active.get(key))
  setText($('n-faults'), active.size ? `${active.size} on` : '')
}

function paintRow(row, fault) {
  if (row.changes) return
  row.toggle.checked = Boolean(fault)
  row.more.hidden = !fault
  row.node.classList.toggle('on', Boolean(fault))
  if (!fault) return
  const left = fault.times === null ? '' : `, ${format(fault.times)} left`
  setText(row.injected, `injected ${format(fault.occurred)}${left}`)
  // What somebody is about to change is not overwritten.
  if (row.more.contains(document.activeElement)) return
  row.share = fault.share
  row.seconds = fault.seconds
  row.range.value = Math.sqrt(fault.share) * 100
  if (row.input) row.input.value = fault.seconds
  paintShare(row)
}

// ---- any other fault --------------------------------------------------------------------

function otherFault() {
  const operations = [
    ...new Set([...kinds.values()].flatMap((each) => each.operations)),
  ]
  const operation = el(
    'select',
    { ariaLabel: 'Operation of another fault' },
    ...operations.map((name) =>
      el('option', { value: name, textContent: short(name) }),
    ),
  )
  const kind = el('select', { ariaLabel: 'Kind of another fault' })
  const button = el('button', { className: 'button', textContent: 'Add' })
  const about = el('small', { className: 'muted about' })
  const fill = () => {
    const possible = [...kinds.values()].filter(
      (each) => each.kind !== 'ok' && each.operations.includes(operation.value),
    )
    kind.replaceChildren(
      ...possible.map((each) =>
        el('option', { value: each.kind, textContent: each.kind }),
      ),
    )
    describe()
  }
  const describe = () => setText(about, described(kinds.get(kind.value).about))
  operation.addEventListener('change', fill)
  kind.addEventListener('change', describe)
  button.addEventListener('click', () => {
    const seconds = kinds.get(kind.value).takes === 'seconds' ? 1 : null
    send({ operation: operation.value, kind: kind.value, share: 0.05, seconds })
  })
  fill()
  return el('div', { className: 'add' }, operation, kind, button, about)
}
