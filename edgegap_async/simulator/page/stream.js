// The connection to the events. A page that is paused or hidden has none: it gets a
// snapshot when it comes back, so nothing piles up.

import { $, say, setText } from './dom.js'

// In milliseconds.
const HIDDEN_FOR = 5000
const RETRY_AFTER = 3000

const WORDS = {
  connecting: 'Connecting',
  live: 'Live',
  paused: 'Paused',
  lost: 'Not connected',
}

export function openStream(onSnapshot, onTick) {
  let source = null
  let paused = false
  let hidden = null

  function show(state) {
    document.body.dataset.stream = state
    setText($('live-text'), WORDS[state])
    $('banner').hidden = state !== 'lost'
  }

  function connect() {
    if (source || paused) return
    source = new EventSource('/_simulator/events')
    source.addEventListener('snapshot', (event) => {
      show('live')
      onSnapshot(JSON.parse(event.data))
    })
    source.addEventListener('tick', (event) => onTick(JSON.parse(event.data)))
    source.addEventListener('error', () => {
      disconnect()
      show('lost')
      setTimeout(connect, RETRY_AFTER)
    })
  }

  function disconnect() {
    source?.close()
    source = null
  }

  $('pause').addEventListener('click', () => {
    paused = !paused
    $('pause').textContent = paused ? 'Resume' : 'Pause'
    $('pause').setAttribute('aria-pressed', paused)
    if (paused) disconnect()
    else connect()
    show(paused ? 'paused' : 'connecting')
    say(paused ? 'Paused' : 'Live')
  })
  document.addEventListener('visibilitychange', () => {
    clearTimeout(hidden)
    if (document.hidden) hidden = setTimeout(disconnect, HIDDEN_FOR)
    else connect()
  })
  connect()
}
