// The page of the simulator. Nodes are made once; a tick changes texts and attributes.

import { $, arrowKeys, ask, copy, format, setText, toast } from './dom.js'
import { askToken, change, copyCurl } from './api.js'
import { buildDetails, closeDetails, openDetails } from './details.js'
import { buildFaults, paintFaults } from './faults.js'
import { buildLimits, paintLimits } from './limits.js'
import { buildMap, layOut, pulse, resetMap, themeChanged } from './map.js'
import { applySnapshot, applyTick, model } from './model.js'
import { ENFORCEMENTS, buildSettings, paintSettings } from './settings.js'
import { openStream } from './stream.js'
import { buildTable, choosePlace, tableChanged, tableReplaced } from './table.js'

// ---- theme ------------------------------------------------------------------------------

const root = document.documentElement
const prefersDark = matchMedia('(prefers-color-scheme: dark)')
const isDark = () =>
  root.dataset.theme ? root.dataset.theme === 'dark' : prefersDark.matches

function showTheme() {
  $('theme').textContent = isDark() ? 'Light' : 'Dark'
  themeChanged()
}

function buildTheme() {
  $('theme').addEventListener('click', () => {
    root.dataset.theme = isDark() ? 'light' : 'dark'
    showTheme()
  })
  prefersDark.addEventListener('change', showTheme)
  showTheme()
}

// ---- the top bar and the tabs -----------------------------------------------------------

async function reset() {
  const text =
    `Forgets ${format(model.counts?.deployed ?? 0)} deployments, sets all counts to 0, and returns ` +
    'to the limits and faults of the start. Clients stay connected.'
  if (!(await ask('Reset the simulator?', text, 'Reset'))) return
  if (await change('POST', 'reset')) toast('Reset')
}

async function stopAll() {
  const count = Object.values(model.states).reduce((sum, each) => sum + each, 0)
  const text = `Stops ${format(count)} deployments. Counts, faults and limits stay.`
  if (!(await ask('Stop all deployments?', text, 'Stop all'))) return
  const answer = await change('POST', 'stop-all')
  if (answer) toast(`Stopping ${format(answer.stopped)}`)
}

function buildButtons() {
  $('copy-url').addEventListener('click', () => copy(model.url, 'Base URL'))
  $('copy-curl').addEventListener('click', copyCurl)
  $('reset').addEventListener('click', reset)
  $('stop-all').addEventListener('click', stopAll)
  $('token').addEventListener('click', askToken)
}

function buildTabs() {
  const tabs = [...document.querySelectorAll('[role=tab]')]
  const choose = (tab) => {
    for (const each of tabs) {
      const chosen = each === tab
      each.setAttribute('aria-selected', chosen)
      each.tabIndex = chosen ? 0 : -1
      $(each.getAttribute('aria-controls')).hidden = !chosen
    }
    tab.focus()
  }
  for (const tab of tabs) tab.addEventListener('click', () => choose(tab))
  arrowKeys(tabs[0].parentNode, () => tabs, choose)
}

function paintTotals() {
  const { counts, states } = model
  const all = Object.values(states).reduce((sum, each) => sum + each, 0)
  for (const chip of document.querySelectorAll('.chip')) {
    const group = chip.dataset.group
    setText(chip.querySelector('b'), format(group ? states[group] : all))
  }
  setText($('f-deployed'), format(counts.deployed))
  setText($('f-most'), format(counts.most_at_once))
  setText($('f-sent'), format(counts.webhooks.sent))
  for (const name of ['failed', 'lost']) {
    setText($(`f-${name}`), format(counts.webhooks[name]))
    $(`f-${name}`).className = counts.webhooks[name] ? 'bad' : ''
  }
  setText($('enforcement'), ENFORCEMENTS[model.enforcement])
  setText($('uptime'), upFor(Math.floor((model.now - model.startedAt) / 1000)))
}

function upFor(seconds) {
  const two = (n) => String(n).padStart(2, '0')
  const minutes = Math.floor(seconds / 60)
  return `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(seconds % 60)}`
}

// ---- events -----------------------------------------------------------------------------

function paintAll() {
  paintTotals()
  paintLimits()
  paintFaults()
  paintSettings()
}

function onSnapshot(data) {
  closeDetails()
  applySnapshot(data)
  setText($('copy-url'), model.url)
  setText($('version'), model.version)
  $('token').hidden = !model.needsToken
  $('how-to').textContent =
    `EDGEGAP_API_TOKEN=any EDGEGAP_BASE_URL=${model.url} python matchmaker.py`
  document.title = `Edgegap API simulator · ${new URL(model.url).host}`
  resetMap()
  tableReplaced()
  paintAll()
}

let ticks = 0

function onTick(data) {
  const { added, changed } = applyTick(data)
  for (const it of [...added, ...changed]) pulse(it)
  paintAll()
  tableChanged(added)
  // The map changes less than the counts.
  if (++ticks % 2 === 0) layOut()
}

buildTheme()
buildButtons()
buildTabs()
buildLimits()
buildMap(choosePlace)
buildTable(openDetails)
buildDetails()
buildSettings()
buildFaults()
openStream(onSnapshot, onTick)
