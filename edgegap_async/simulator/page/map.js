// The map: a place is a cluster of dots, and one dot is one or more deployments. A state
// that occurs keeps at least one dot, so that one error among 600 is seen.

import {
  $,
  arrowKeys,
  el,
  format,
  hideTip,
  mark,
  muted,
  setText,
  showTip,
} from './dom.js'
import { GROUPS, model } from './model.js'
import { HEIGHT, LAND, TOP, WIDTH, project } from './world.js'

const UNITS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]
const NARROW = 500
// The most dots of a place.
const ROOM = 130
const ROOM_IF_NARROW = 30
// The angle between two dots of a sunflower, in radians.
const GOLDEN_ANGLE = 2.399963
const MOST_PULSES = 26
const PULSE_LASTS = 800

const world = $('world')
const canvas = $('dots')
const context = canvas.getContext('2d')
const calm = matchMedia('(prefers-reduced-motion: reduce)')

let view = { scale: 1, x: 0, y: 0, width: 0, height: 0 }
let unit = 1
let colours = null
let pulses = []
let frame = 0

const narrow = () => view.width < NARROW
const places = () => [...model.places.values()]

export function buildMap(choosePlace) {
  $('land').setAttribute('d', LAND)
  new ResizeObserver(resize).observe(world)
  world.addEventListener('pointermove', (event) => {
    const place = placeUnder(event)
    world.classList.toggle('over', Boolean(place))
    if (place) tellPlace(place, event.clientX, event.clientY)
    else hideTip()
  })
  world.addEventListener('pointerleave', hideTip)
  world.addEventListener('click', (event) => {
    const place = placeUnder(event)
    if (place) choosePlace(place.city)
  })
  const labels = () =>
    places()
      .filter((each) => each.radius)
      .map((each) => each.label)
  arrowKeys($('labels'), labels, (label) => {
    for (const each of places()) each.label.tabIndex = each.label === label ? 0 : -1
    label.focus()
  })
}

function resize() {
  const { clientWidth: width, clientHeight: height } = world
  const density = devicePixelRatio || 1
  canvas.width = width * density
  canvas.height = height * density
  context.setTransform(density, 0, 0, density, 0, 0)
  const scale = Math.min(width / WIDTH, height / HEIGHT)
  const x = (width - WIDTH * scale) / 2
  view = { scale, width, height, x, y: (height - HEIGHT * scale) / 2 }
  layOut(true)
}

// The places of a snapshot are new.
export function resetMap() {
  pulses = []
  for (const place of places()) {
    place.label = el('button', { className: 'place', tabIndex: -1, hidden: true })
    place.label.append(el('span', { textContent: place.city }), ' ', el('b'))
    place.label.addEventListener('focus', () => {
      const box = place.label.getBoundingClientRect()
      tellPlace(place, box.left, box.bottom)
    })
    place.label.addEventListener('blur', hideTip)
  }
  $('labels').replaceChildren(...places().map((each) => each.label))
  layOut(true)
}

export function layOut(force = false) {
  if (!view.width || !model.places.size) return
  const all = places()
  const most = Math.max(1, ...all.map((each) => each.total))
  const room = narrow() ? ROOM_IF_NARROW : ROOM
  const wanted = UNITS.find((each) => most / each <= room) ?? UNITS.at(-1)
  let moved = force || wanted !== unit
  unit = wanted
  for (const place of all) moved = resizePlace(place) || moved
  if (moved) move(all.filter((each) => each.radius))
  for (const place of all) {
    place.label.hidden = !place.radius
    setText(place.label.lastChild, format(place.total))
  }
  if (!all.some((each) => each.label.tabIndex === 0 && each.radius)) {
    for (const each of all) each.label.tabIndex = -1
    const first = all.find((each) => each.radius)
    if (first) first.label.tabIndex = 0
  }
  $('empty-map').hidden = model.deployments.size > 0
  setText($('unit'), legend())
  draw()
}

function legend() {
  if (!model.deployments.size) return ''
  const dots =
    unit === 1
      ? '1 dot is 1 deployment'
      : `1 dot is about ${unit} deployments; every state that occurs keeps a dot`
  return dots + (model.notShown ? `; ${format(model.notShown)} more are not shown` : '')
}

const step = () => (narrow() ? 3.9 : 5.3)

function resizePlace(place) {
  place.dots = GROUPS.map((group) => {
    const count = place.groups[group]
    return count && Math.max(1, Math.round(count / unit))
  })
  const dots = place.dots.reduce((sum, each) => sum + each, 0)
  // In steps of 3 pixels, so that not every deployment moves the others.
  const exact = step() * (0.56 * Math.sqrt(dots + 0.5) + 0.6)
  const radius = dots ? Math.ceil(exact / 3) * 3 : 0
  const changed = radius !== place.radius
  place.radius = radius
  return changed
}

// Clusters that would overlap move apart. A label stands where there is room; without
// any, the tooltip has it.
function move(shown) {
  for (const place of shown) {
    const [x, y] = project(place.latitude, place.longitude)
    place.homeX = place.x = view.x + x * view.scale
    place.homeY = place.y = view.y + (y - TOP) * view.scale
  }
  for (let round = 0; round < 90; round++)
    for (const place of shown) pushApart(place, shown)
  for (const place of shown) {
    const inside = (value, size) =>
      Math.max(place.radius + 2, Math.min(size - place.radius - 2, value))
    place.x = inside(place.x, view.width)
    place.y = inside(place.y, view.height)
  }
  const taken = shown.map((it) => [
    it.x - it.radius,
    it.y - it.radius,
    it.x + it.radius,
    it.y + it.radius,
  ])
  for (const place of [...shown].sort((a, b) => b.total - a.total)) label(place, taken)
}

function pushApart(place, shown) {
  place.x += (place.homeX - place.x) * 0.02
  place.y += (place.homeY - place.y) * 0.02
  for (const other of shown) {
    if (other === place) continue
    const dx = other.x - place.x || 0.1
    const dy = other.y - place.y || 0.1
    const distance = Math.hypot(dx, dy)
    const overlap = place.radius + other.radius + 5 - distance
    if (overlap <= 0) continue
    const half = overlap / distance / 2
    place.x -= dx * half
    place.y -= dy * half
    other.x += dx * half
    other.y += dy * half
  }
}

function label(place, taken) {
  place.label.hidden = false
  setText(place.label.lastChild, format(place.total))
  const { x, y, radius } = place
  const width = place.label.offsetWidth + 2
  const height = 15
  const beside = (shift) => [
    [x + radius + 1, y + shift * radius - height / 2],
    [x - radius - width - 1, y + shift * radius - height / 2],
  ]
  const spots = [
    ...beside(0),
    [x - width / 2, y + radius],
    [x - width / 2, y - radius - height],
    ...beside(-0.75),
    ...beside(0.75),
  ]
  const fits = ([left, top]) =>
    left >= 0 &&
    top >= 0 &&
    left + width <= view.width &&
    top + height <= view.height &&
    !taken.some(
      (box) =>
        left < box[2] && left + width > box[0] && top < box[3] && top + height > box[1],
    )
  const free = spots.find(fits)
  const [left, top] = free ?? [x - width / 2, y - height / 2]
  place.label.classList.toggle('no-room', !free)
  place.label.style.transform = `translate(${left}px, ${top}px)`
  if (free) taken.push([left, top, left + width, top + height])
}

function dotAt(place, i) {
  const distance = step() * 0.56 * Math.sqrt(i + 0.5)
  const angle = i * GOLDEN_ANGLE
  return [place.x + distance * Math.cos(angle), place.y + distance * Math.sin(angle)]
}

export function themeChanged() {
  colours = null
  draw()
}

function readColours() {
  const probe = el('i')
  document.body.append(probe)
  colours = {}
  for (const name of [...GROUPS, 'muted']) {
    probe.style.color = `var(--${name})`
    colours[name] = getComputedStyle(probe).color
  }
  probe.remove()
}

function draw(time = performance.now()) {
  if (!colours) readColours()
  const shown = places().filter((each) => each.radius)
  context.clearRect(0, 0, view.width, view.height)
  drawLines(shown)
  for (const group of GROUPS) drawDots(shown, group)
  drawPulses(time)
}

// From a place to its cluster, if that had to move.
function drawLines(shown) {
  context.beginPath()
  for (const place of shown) {
    const distance = Math.hypot(place.x - place.homeX, place.y - place.homeY)
    if (distance <= place.radius + 2) continue
    const part = (distance - place.radius) / distance
    context.moveTo(place.homeX, place.homeY)
    context.lineTo(
      place.homeX + (place.x - place.homeX) * part,
      place.homeY + (place.y - place.homeY) * part,
    )
  }
  context.strokeStyle = colours.muted
  context.lineWidth = 1
  context.globalAlpha = 0.55
  context.stroke()
  context.globalAlpha = 1
}

// The shape of each state, as in the table.
const SHAPES = {
  ready: (x, y, r) => {
    context.moveTo(x + r, y)
    context.arc(x, y, r, 0, 2 * Math.PI)
  },
  pending: (x, y, r) => SHAPES.ready(x, y, r - 0.3),
  error: (x, y, r) => {
    const q = r + 1.2
    context.moveTo(x, y - q)
    context.lineTo(x + q, y)
    context.lineTo(x, y + q)
    context.lineTo(x - q, y)
    context.closePath()
  },
  terminating: (x, y, r) => {
    const q = r * 0.8
    context.moveTo(x - q, y - q)
    context.lineTo(x + q, y + q)
    context.moveTo(x + q, y - q)
    context.lineTo(x - q, y + q)
  },
}
const FILLED = new Set(['ready', 'error'])

function drawDots(shown, group) {
  const radius = narrow() ? 1.5 : 2.1
  const at = GROUPS.indexOf(group)
  context.beginPath()
  for (const place of shown) {
    const first = place.dots.slice(0, at).reduce((sum, each) => sum + each, 0)
    for (let i = first; i < first + place.dots[at]; i++) {
      SHAPES[group](...dotAt(place, i), radius)
    }
  }
  context.lineWidth = 1.3
  context.fillStyle = context.strokeStyle = colours[group]
  if (FILLED.has(group)) context.fill()
  else context.stroke()
}

function drawPulses(time) {
  pulses = pulses.filter((each) => time - each.start < PULSE_LASTS && each.place.radius)
  context.lineWidth = 1.5
  for (const { place, group, start, share } of pulses) {
    const done = Math.max(0, (time - start) / PULSE_LASTS)
    const at = GROUPS.indexOf(group)
    const first = place.dots.slice(0, at).reduce((sum, each) => sum + each, 0)
    const [x, y] = dotAt(place, first + Math.floor(share * place.dots[at]))
    context.globalAlpha = (1 - done) * 0.9
    context.strokeStyle = colours[group]
    context.beginPath()
    context.arc(x, y, 2.5 + done * (group === 'error' ? 20 : 10), 0, 2 * Math.PI)
    context.stroke()
  }
  context.globalAlpha = 1
}

// A ring spreads from a deployment that is new or has changed its state.
export function pulse({ place, group }) {
  if (calm.matches || document.hidden) return
  if (pulses.length > MOST_PULSES && group !== 'error') return
  const start = performance.now() + Math.random() * 240
  pulses.push({ place, group, start, share: Math.random() })
  frame ||= requestAnimationFrame(animate)
}

function animate(time) {
  draw(time)
  frame = pulses.length && !document.hidden ? requestAnimationFrame(animate) : 0
}

function tellPlace(place, x, y) {
  const rows = ['ready', 'pending', 'error', 'terminating'].map((group) =>
    el(
      'tr',
      {},
      el('td', {}, mark(group), ` ${group}`),
      el('td', { textContent: format(place.groups[group]) }),
    ),
  )
  const title = el('b', { textContent: place.city })
  showTip(x, y, title, muted(` ${place.country}`), el('table', {}, ...rows))
}

function placeUnder(event) {
  const label = event.target.closest?.('.place')
  if (label) return places().find((each) => each.label === label)
  const box = world.getBoundingClientRect()
  const [x, y] = [event.clientX - box.left, event.clientY - box.top]
  return places().find(
    (it) => it.radius && Math.hypot(it.x - x, it.y - y) < it.radius + 3,
  )
}
