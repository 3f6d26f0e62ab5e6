// Helpers for the DOM. Text is always inserted as text, never as HTML.

const SVG = 'http://www.w3.org/2000/svg'
const number = new Intl.NumberFormat('en')

export const $ = (id) => document.getElementById(id)
export const format = (n) => number.format(n)
export const capital = (text) => text[0].toUpperCase() + text.slice(1)

export function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag)
  for (const name in properties) {
    if (name in node) node[name] = properties[name]
    else node.setAttribute(name, properties[name])
  }
  node.append(...children)
  return node
}

export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag)
  for (const name in attributes) node.setAttribute(name, attributes[name])
  node.append(...children)
  return node
}

// A tick may set hundreds of texts, most of which are the same as before.
const texts = new WeakMap()
export function setText(node, text) {
  if (texts.get(node) === text) return
  texts.set(node, text)
  node.textContent = text
}

export const mark = (group) =>
  svg(
    'svg',
    { class: 'mark', 'aria-hidden': 'true' },
    svg('use', { href: `#m-${group}` }),
  )

export const muted = (text) => el('span', { className: 'muted', textContent: text })

export function age(milliseconds) {
  const s = Math.max(0, Math.floor(milliseconds / 1000))
  if (s < 60) return `${s} s`
  const two = (n) => String(n).padStart(2, '0')
  if (s < 3600) return `${Math.floor(s / 60)}:${two(s % 60)}`
  return `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} m`
}

export function showTip(x, y, ...nodes) {
  const tip = $('tip')
  tip.replaceChildren(...nodes)
  const { offsetWidth: width, offsetHeight: height } = tip
  const left = Math.max(6, Math.min(innerWidth - width - 6, x + 14))
  const top = y + height + 22 > innerHeight ? y - height - 10 : y + 16
  tip.style.transform = `translate(${left}px, ${top}px)`
  tip.style.visibility = 'visible'
}
export const hideTip = () => {
  $('tip').style.visibility = 'hidden'
}

let toastTimer
export function toast(text) {
  $('toast').textContent = text
  $('toast').classList.add('on')
  clearTimeout(toastTimer)
  toastTimer = setTimeout(() => $('toast').classList.remove('on'), 3500)
}

// Counts change all the time, so only the result of an action is spoken.
let sayTimer
export function say(text) {
  clearTimeout(sayTimer)
  sayTimer = setTimeout(() => setText($('say'), text), 500)
}

export function ask(title, text, yes) {
  $('ask-title').textContent = title
  $('ask-text').textContent = text
  $('ask-yes').textContent = yes
  return answerOf($('ask'))
}

export function answerOf(dialog) {
  dialog.returnValue = ''
  dialog.showModal()
  return new Promise((done) =>
    dialog.addEventListener('close', () => done(dialog.returnValue === 'yes'), {
      once: true,
    }),
  )
}

export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text)
    toast(`${what} copied`)
  } catch {
    toast(text)
  }
}

// The arrow keys move among the children of a group, which is one Tab stop.
export function arrowKeys(group, children, choose = (node) => node.focus()) {
  group.addEventListener('keydown', (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key]
    const nodes = children()
    const at = nodes.indexOf(document.activeElement)
    if (!step || at < 0) return
    event.preventDefault()
    choose(nodes[(at + step + nodes.length) % nodes.length])
  })
}
