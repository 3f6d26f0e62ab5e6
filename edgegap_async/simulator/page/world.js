// The coastline, as one SVG path, and the projection of its points. The page of a load
// test draws the same map.

const answer = await fetch(new URL('world.json', import.meta.url))
const world = await answer.json()

export const { width: WIDTH, top: TOP, height: HEIGHT, land: LAND } = world

export const project = (latitude, longitude) => [
  ((longitude - world.west) * WIDTH) / 360,
  ((world.north - latitude) * WIDTH) / 360 / world.squeeze,
]
