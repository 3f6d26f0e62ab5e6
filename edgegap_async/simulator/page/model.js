// The state of the simulator, as the events tell it.

export const GROUPS = ['ready', 'pending', 'terminating', 'error']
export const LIMITS = ['deploy', 'status', 'list', 'other']
// The seconds of a chart; the last one is in progress.
export const SPAN = 120

const GROUP_OF = { READY: 'ready', ERROR: 'error', TERMINATING: 'terminating' }

export const model = {
  now: 0,
  startedAt: 0,
  second: 0,
  url: '',
  version: '',
  enforcement: '',
  needsToken: false,
  states: {},
  notShown: 0,
  counts: null,
  faults: [],
  limits: {},
  places: new Map(),
  deployments: new Map(),
}

export function applySnapshot(data) {
  Object.assign(model, {
    startedAt: Date.parse(data.started_at),
    url: data.url,
    version: data.version,
    needsToken: data.needs_token,
    second: Math.floor(data.clock),
    deployments: new Map(),
    places: new Map(data.cities.map((each) => [each.city, newPlace(each)])),
    limits: Object.fromEntries(
      LIMITS.map((name) => [name, { seconds: emptySeconds(data.limits[name].rate) }]),
    ),
  })
  for (const row of data.deployments) put(row)
  applyTotals(data)
}

// Returns the deployments that are new, and those whose state has changed.
export function applyTick(data) {
  const result = { added: [], changed: [] }
  for (const row of data.deployments) {
    const before = model.deployments.get(row.request_id)
    const group = before?.group
    const now = put(row)
    if (!before) result.added.push(now)
    else if (group !== now.group) result.changed.push(now)
  }
  for (const id of data.removed) {
    const ended = model.deployments.get(id)
    if (!ended) continue
    model.deployments.delete(id)
    ended.place.groups[ended.group] -= 1
    ended.place.total -= 1
    ended.gone = true
  }
  applyTotals(data)
  return result
}

function put(row) {
  let it = model.deployments.get(row.request_id)
  if (it) {
    it.place.groups[it.group] -= 1
  } else {
    const place = model.places.get(row.city)
    it = { id: row.request_id, created: Date.parse(row.created_at), place, gone: false }
    model.deployments.set(it.id, it)
    place.total += 1
  }
  it.state = row.state
  it.group = GROUP_OF[row.state] ?? 'pending'
  it.place.groups[it.group] += 1
  it.application = row.application
  it.version = row.version
  it.tags = row.tags
  it.stopping = row.stop_requested
  it.ports = Object.values(row.ports)
  it.words = wordsOf(it)
  return it
}

export const placeWord = (city) => `location:${city.toLowerCase().replaceAll(' ', '-')}`

// What the filter of the table looks for.
function wordsOf(it) {
  const { application, version, tags, ports } = it
  return [
    it.id,
    `${application}/${version}`,
    `${application} ${version}`,
    it.place.city,
    placeWord(it.place.city),
    ...tags,
    ...tags.map((tag) => `tag:${tag}`),
    ...ports.map((port) => port.external),
  ]
    .join(' ')
    .toLowerCase()
}

function newPlace(it) {
  const groups = Object.fromEntries(GROUPS.map((group) => [group, 0]))
  return { ...it, groups, total: 0, radius: 0, dots: [] }
}

function applyTotals(data) {
  model.now = Date.parse(data.time)
  model.states = data.states
  model.notShown = data.not_shown
  model.counts = data.counts
  model.enforcement = data.enforcement
  model.faults = data.faults
  const second = Math.floor(data.clock)
  for (const name of LIMITS) applyLimit(model.limits[name], data.limits[name], second)
  model.second = second
}

const emptySeconds = (rate) =>
  Array.from({ length: SPAN }, () => ({ arrivals: 0, refused: 0, rate }))

function applyLimit(limit, told, second) {
  const { seconds, ...totals } = told
  Object.assign(limit, totals)
  for (let i = Math.max(model.second, second - SPAN); i < second; i++) {
    limit.seconds.shift()
    limit.seconds.push({ arrivals: 0, refused: 0, rate: told.rate })
  }
  limit.seconds[SPAN - 1].rate = told.rate
  for (const [at, arrivals, refused, rate] of seconds) {
    const place = SPAN - 1 - (second - at)
    if (place >= 0) limit.seconds[place] = { arrivals, refused, rate }
  }
}
