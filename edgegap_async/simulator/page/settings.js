// The panel of limits: how requests are counted, and the rate of each limit.

import { $, el } from './dom.js'
import { change } from './api.js'
import { nameOf, requestsOf } from './limits.js'
import { LIMITS, model } from './model.js'

export const ENFORCEMENTS = {
  'sliding-window': 'sliding window',
  'fixed-window': 'fixed window',
  'token-bucket': 'token bucket',
  spacing: 'spacing',
  off: 'off',
}

const inputs = {}
let select

export function buildSettings() {
  select = el(
    'select',
    { ariaLabel: 'Enforced by' },
    ...Object.entries(ENFORCEMENTS).map(([value, textContent]) =>
      el('option', { value, textContent }),
    ),
  )
  select.addEventListener('change', () => send({ enforcement: select.value }))
  addSetting('Enforced by', 'How the real API counts is not documented', select)
  for (const name of LIMITS) {
    const label = `${nameOf(name)}, requests per second`
    const input = el('input', {
      type: 'number',
      min: 0,
      step: 'any',
      placeholder: 'none',
      ariaLabel: label,
    })
    input.addEventListener('change', () => {
      send({ rates: { [name]: input.value === '' ? null : Number(input.value) } })
    })
    inputs[name] = input
    const unit = el('span', { className: 'muted', textContent: '/s' })
    addSetting(nameOf(name), requestsOf(name), input, unit)
  }
}

function addSetting(title, about, ...fields) {
  $('p-limits').append(
    el(
      'div',
      { className: 'setting' },
      el('span', { textContent: title }),
      el('small', { textContent: about }),
      el('div', { className: 'field' }, ...fields),
    ),
  )
}

async function send(body) {
  const answer = await change('POST', 'limits', body)
  if (answer) {
    model.enforcement = answer.enforcement
    for (const name of LIMITS) model.limits[name].rate = answer.limits[name].rate
  }
  paintSettings(true)
}

export function paintSettings(force = false) {
  const free = (node) => force || document.activeElement !== node
  if (free(select)) select.value = model.enforcement
  for (const name of LIMITS) {
    if (free(inputs[name])) inputs[name].value = model.limits[name].rate ?? ''
  }
}
