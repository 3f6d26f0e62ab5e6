// The drawer with the details of one deployment. They are asked for only while it is
// open. A part is made again only if it has changed.

import { $, age, el, muted } from './dom.js'
import { crash, get, stop } from './api.js'
import { model } from './model.js'
import { focusTable, showOpen, stateOf, tagOf } from './table.js'

// In milliseconds.
const INTERVAL = 1000

let open = null
let timer
let returnTo = null

// Of each section: what it shows, which decides whether it has changed, and its nodes.
const SECTIONS = {
  States: [
    (it) => [it.states, Math.floor(Math.min(model.now, endOf(it)) / 1000)],
    states,
  ],
  Deployment: [
    (it) => [
      it.application,
      it.version,
      it.fqdn,
      it.public_ip,
      it.tags,
      it.error_detail,
    ],
    facts,
  ],
  Ports: [(it) => it.ports, ports],
  Webhooks: [(it) => it.webhooks, webhooks],
  Logs: [(it) => it.logs, logs],
  Environment: [(it) => it.environment, environment],
}
const shown = new Map()

export function buildDetails() {
  $('d-close').addEventListener('click', closeDetails)
  $('d-stop').addEventListener('click', () => stop(open.id).then(refresh))
  $('d-crash').addEventListener('click', () => crash(open.id).then(refresh))
  addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && open && !document.querySelector('dialog[open]'))
      closeDetails()
  })
}

export function openDetails(it) {
  const drawer = $('drawer')
  if (!drawer.contains(document.activeElement)) returnTo = document.activeElement
  open = it
  shown.clear()
  $('d-id').textContent = it.id
  $('d-body').replaceChildren()
  drawer.hidden = false
  $('d-close').focus({ preventScroll: true })
  showOpen(it)
  paintHead()
  refresh()
}

export function closeDetails() {
  if (!open) return
  open = null
  clearTimeout(timer)
  $('drawer').hidden = true
  showOpen(null)
  if (returnTo?.isConnected && returnTo !== document.body)
    returnTo.focus({ preventScroll: true })
  else focusTable()
}

function paintHead() {
  $('d-state').replaceChildren(...stateOf(open))
  $('d-crash').disabled = open.gone || open.group !== 'ready'
  $('d-stop').disabled = open.gone || open.stopping
}

async function refresh() {
  clearTimeout(timer)
  const asked = open
  if (!asked) return
  try {
    const it = await get(`deployments/${encodeURIComponent(asked.id)}`)
    if (open !== asked) return
    paintHead()
    paintSections(it)
  } catch (error) {
    // It has ended, and is forgotten by now: there is nothing more to ask for.
    if (error.status === 404 && open === asked) return showForgotten()
  }
  if (open === asked) timer = setTimeout(refresh, INTERVAL)
}

function showForgotten() {
  open.gone = true
  paintHead()
  $('d-state').append(muted(', and no longer remembered by the simulator'))
}

function paintSections(it) {
  for (const [title, [contentOf, nodesOf]] of Object.entries(SECTIONS)) {
    const content = JSON.stringify(contentOf(it))
    const before = shown.get(title)
    // A selection must not vanish while somebody copies it.
    if (before?.content === content || isSelected(before?.node)) continue
    const node = el(
      'section',
      {},
      el('h3', { textContent: title }),
      ...nodesOf(it),
    )
    if (before) before.node.replaceWith(node)
    else $('d-body').append(node)
    shown.set(title, { content, node })
  }
}

function isSelected(node) {
  const selection = getSelection()
  return Boolean(node && !selection.isCollapsed && node.contains(selection.anchorNode))
}

const clock = (text) => text.slice(11, 23)
const none = (text) => [el('p', { className: 'muted', textContent: text })]
const code = (text) => el('code', { textContent: text })

function endOf(it) {
  const last = it.states.at(-1)
  return last.state === 'TERMINATED' ? Date.parse(last.since) : Infinity
}

const TONES = { READY: 'ready', ERROR: 'error', TERMINATING: 'terminating' }
// The last state is cut after so many milliseconds, so that the others are seen.
const LONGEST = 6000

function states(it) {
  const steps = it.states
    .filter((each) => each.state !== 'TERMINATED')
    .map((each) => ({ name: each.state, since: Date.parse(each.since) }))
  const start = steps[0].since
  const end = Math.min(model.now, endOf(it))
  const until = (i) => steps[i + 1]?.since ?? Math.max(end, steps[i].since)
  const seen = Math.min(end, steps.at(-1).since + LONGEST)
  const whole = Math.max(1, seen - start)
  const percent = (time) => ((Math.min(time, seen) - start) / whole) * 100
  const rows = steps.map(({ name, since }, i) => {
    const bar = el('span', { className: `bar ${TONES[name] ?? ''}` })
    bar.style.marginLeft = `${Math.min(98, percent(since))}%`
    bar.style.width = `${Math.max(1, percent(until(i)) - percent(since))}%`
    const took = until(i) - since
    const text = took > LONGEST ? age(took) : `${(took / 1000).toFixed(2)} s`
    return el(
      'li',
      {},
      el('span', { textContent: name }),
      el('span', {}, bar),
      el('span', { className: 't', textContent: text }),
    )
  })
  return [el('ul', { className: 'steps' }, ...rows)]
}

function facts(it) {
  const values = [
    ['Application', `${it.application} / ${it.version}`],
    ['Location', `${it.city}, ${it.country}`],
    ['Created', `${clock(it.created_at)} UTC`],
    ['Fleet host', it.host_id],
    ['Host', it.fqdn, 'mono'],
    ['Public IP', it.public_ip, 'mono'],
    ['Error', it.error_detail],
  ].filter(([, value]) => value)
  const rows = values.flatMap(([name, value, className = '']) => [
    el('dt', { textContent: name }),
    el('dd', { textContent: value, className }),
  ])
  const tags = it.tags.length ? it.tags.map(tagOf) : ['–']
  return [
    el(
      'dl',
      { className: 'facts' },
      ...rows,
      el('dt', { textContent: 'Tags' }),
      el('dd', {}, ...tags),
    ),
  ]
}

function grid(className, heads, rows) {
  const head = el('tr', {}, ...heads.map((text) => el('th', { textContent: text })))
  const body = rows.map((cells) =>
    el('tr', {}, ...cells.map((cell) => el('td', {}, cell))),
  )
  return [
    el(
      'table',
      { className: `mini ${className}` },
      ...(heads.length ? [head] : []),
      ...body,
    ),
  ]
}

function ports(it) {
  const rows = Object.values(it.ports).map((port) => [
    port.name,
    String(port.internal),
    String(port.external),
    port.protocol,
    code(port.link),
  ])
  if (!rows.length) return none('None: it has no address yet.')
  return grid('ports', ['Name', 'Internal', 'External', 'Protocol', 'Link'], rows)
}

function webhooks(it) {
  const rows = it.webhooks.map((each) => [
    each.event,
    clock(each.due_at),
    code(each.to),
    result(each.result),
  ])
  return rows.length
    ? grid('hooks', ['Event', 'Due', 'To', 'Result'], rows)
    : none('None was due yet.')
}

function result(text) {
  if (text === null) return muted('under way')
  const good = /^2\d\d$/.test(text)
  return el('span', { className: good ? '' : 'bad', textContent: text })
}

function logs(it) {
  const { logs: output, crash_logs: crashed } = it.logs
  const text = output + (crashed ?? '')
  return text
    ? [
        el('pre', {
          className: 'log',
          tabIndex: 0,
          role: 'group',
          ariaLabel: 'Logs',
          textContent: text,
        }),
      ]
    : none('The container has not written anything yet.')
}

function environment(it) {
  const rows = Object.entries(it.environment).map(([name, value]) => [
    code(name),
    value === null ? muted('hidden') : code(value),
  ])
  return grid('env', [], rows)
}
