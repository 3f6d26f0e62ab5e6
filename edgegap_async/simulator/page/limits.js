// The arrivals per second of each limit, against its line, with one cross-hair for all.

import { $, el, format, hideTip, muted, setText, showTip, svg } from './dom.js'
import { LIMITS, SPAN, model } from './model.js'

const ABOUT = {
  deploy: ['Deploy', 'POST /v2/deployments'],
  status: ['Status', 'GET /v1/status/{id}'],
  list: ['List', 'GET /v1/deployments, and hosts of fleets'],
  other: ['Other', 'stops, tags, logs, metrics, locations'],
}
export const nameOf = (limit) => ABOUT[limit][0]
export const requestsOf = (limit) => ABOUT[limit][1]

const PATHS = ['base', 'arrived', 'refused', 'edge', 'ticks', 'rule', 'cross']
const panels = {}
let shownSecond = null
let pointer = [0, 0]

export function buildLimits() {
  for (const name of LIMITS) {
    const paths = Object.fromEntries(
      PATHS.map((each) => [each, svg('path', { class: each })]),
    )
    paths.base.setAttribute('d', `M0 100H${SPAN}`)
    const text = Object.fromEntries(
      ['now', 'of', 'arrivals', 'refusals', 'most'].map((each) => [each, el('span')]),
    )
    text.now.className = 'now'
    text.of.className = 'muted'
    const box = svg('svg', {
      viewBox: `0 0 ${SPAN} 100`,
      preserveAspectRatio: 'none',
      'aria-hidden': 'true',
    })
    box.append(...Object.values(paths))
    const plot = el('div', { className: 'plot', tabIndex: 0, role: 'img' }, box)
    const more = el('span', { className: 'opt-c' }, text.arrivals, ' arrived · ')
    const counts = el(
      'small',
      {},
      more,
      text.refusals,
      ' refused · at most ',
      text.most,
    )
    const title = el('b', { textContent: nameOf(name), title: requestsOf(name) })
    const line = el(
      'div',
      { className: 'line' },
      title,
      el('span', {}, text.now, ' ', text.of),
      counts,
    )
    text.most.className = 'strong'
    document
      .querySelector('.limits')
      .append(el('div', { className: 'limit' }, line, plot))
    panels[name] = { paths, text, plot }
    listen(plot)
  }
}

function listen(plot) {
  plot.addEventListener('pointermove', (event) => {
    const box = plot.getBoundingClientRect()
    const second = Math.floor(((event.clientX - box.left) / box.width) * SPAN)
    showSecond(second, event.clientX, event.clientY)
  })
  plot.addEventListener('pointerleave', hideSecond)
  plot.addEventListener('blur', hideSecond)
  plot.addEventListener('keydown', (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key]
    if (!step) return
    event.preventDefault()
    const box = plot.getBoundingClientRect()
    const second = clamp((shownSecond ?? SPAN - 2) + step)
    showSecond(second, box.left + (second / SPAN) * box.width, box.top)
  })
}

const clamp = (second) => Math.max(0, Math.min(SPAN - 1, second))

function showSecond(second, x, y) {
  shownSecond = clamp(second)
  pointer = [x, y]
  for (const { paths } of Object.values(panels)) {
    paths.cross.setAttribute('d', `M${shownSecond + 0.5} 0V100`)
  }
  const when = new Date(model.now - (SPAN - 1 - shownSecond) * 1000)
  const title = el('b', { textContent: when.toTimeString().slice(0, 8) })
  const note = shownSecond === SPAN - 1 ? muted(' this second so far') : ''
  const rows = LIMITS.map((name) => {
    const { arrivals, refused } = model.limits[name].seconds[shownSecond]
    const value = el('td', {}, String(arrivals))
    if (refused)
      value.append(
        el('span', { className: 'bad', textContent: ` (${refused} refused)` }),
      )
    return el('tr', {}, el('td', { textContent: nameOf(name) }), value)
  })
  showTip(x, y, title, note, el('table', {}, ...rows))
}

function hideSecond() {
  shownSecond = null
  for (const { paths } of Object.values(panels)) paths.cross.removeAttribute('d')
  hideTip()
}

export function paintLimits() {
  for (const name of LIMITS) paint(panels[name], name, model.limits[name])
  if (shownSecond !== null) showSecond(shownSecond, ...pointer)
}

function paint({ paths, text, plot }, name, limit) {
  const { seconds, rate } = limit
  const highest = Math.max(
    4,
    ...seconds.flatMap((each) => [each.arrivals, each.rate ?? 0]),
  )
  const shapes = drawn(seconds, highest * 1.14)
  const off = model.enforcement === 'off'
  if (off) shapes.rule = ''
  if (!limit.arrivals) shapes.edge = ''
  for (const each in shapes) paths[each].setAttribute('d', shapes[each])
  const last = seconds[SPAN - 2].arrivals
  const against = off || rate === null ? '/s, no limit' : `of ${format(rate)}/s`
  setText(text.now, format(last))
  setText(text.of, against)
  setText(text.arrivals, format(limit.arrivals))
  setText(text.refusals, format(limit.refused))
  text.refusals.className = limit.refused ? 'strong bad' : 'strong'
  setText(text.most, `${format(limit.busiest_second)}/s`)
  const label = `${nameOf(name)}: ${last} in the last second, ${against}; ${limit.refused} refused`
  plot.setAttribute('aria-label', label)
}

// The counts are steps. What was refused stands on top of what was admitted, and is
// marked once more at the top edge. The line is the rate that held then.
function drawn(seconds, top) {
  const at = (value) => (100 - (value / top) * 100).toFixed(1)
  const shapes = { arrived: '', refused: '', ticks: '', edge: '', rule: '' }
  seconds.forEach(({ arrivals, refused, rate }, i) => {
    shapes.edge += `${i ? 'V' : 'M0 '}${at(arrivals)}H${i + 1}`
    if (arrivals) shapes.arrived += `M${i} 100V${at(arrivals)}h1V100z`
    if (refused) {
      shapes.refused += `M${i} ${at(arrivals - refused)}V${at(arrivals)}h1V${at(arrivals - refused)}z`
      shapes.ticks += `M${i - 0.1} 0h1.2v7h-1.2z`
    }
    if (rate === null) return
    const goesOn = i && seconds[i - 1].rate !== null
    shapes.rule += `${goesOn ? 'V' : `M${i} `}${at(rate)}H${i + 1}`
  })
  return shapes
}
