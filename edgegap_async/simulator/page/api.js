// Requests to the endpoints under /_simulator/. Each control shows the request that it
// sends, so that a test can send the same.

import { $, answerOf, copy, setText, toast } from './dom.js'

let token = ''
let lastCurl = ''

export const get = (path) => send('GET', path)

// Returns the answer; null if the request was refused, which the user has read then.
export async function change(method, path, body) {
  showRequest(method, path, body)
  try {
    return await send(method, path, body)
  } catch (error) {
    if (error.status === 401 && (await askToken())) return change(method, path, body)
    toast(error.message)
    return null
  }
}

async function send(method, path, body) {
  const headers = token ? { Authorization: `token ${token}` } : {}
  if (method !== 'GET') headers['Content-Type'] = 'application/json'
  const response = await fetch(`/_simulator/${path}`, {
    method,
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
  })
  const answer = await response.json().catch(() => ({}))
  if (response.ok) return answer
  const message = answer.message ?? `${response.status} ${response.statusText}`
  throw Object.assign(new Error(message), { status: response.status })
}

export async function askToken() {
  const used = await answerOf($('token-dialog'))
  if (used) token = $('token-value').value
  return used
}

function showRequest(method, path, body) {
  const text = body === undefined ? '' : JSON.stringify(body)
  lastCurl =
    `curl -X ${method} -H 'Content-Type: application/json' ` +
    quoted(`${location.origin}/_simulator/${path}`) +
    (text && ` -d ${quoted(text)}`)
  setText($('last-http'), `${method} /_simulator/${path} ${text}`)
  $('last-http').title = lastCurl
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`

export const copyCurl = () =>
  copy(lastCurl || `curl ${location.origin}/_simulator/counts`, 'curl command')

export const stop = (id) => change('POST', `stop/${encodeURIComponent(id)}`)
export const crash = (id) => change('POST', `crash/${encodeURIComponent(id)}`)
