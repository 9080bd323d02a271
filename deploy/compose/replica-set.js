// For mongosh, at one of the three: make them a replica set unless they are one, and return when there is a primary.
// Whoever is not up yet makes this fail, and it is run again.
try {
  rs.status()
  print('rs0 is there')
} catch (error) {
  if (error.codeName !== 'NotYetInitialized') throw error
  const members = ['mongo1', 'mongo2', 'mongo3'].map((name, number) => ({ _id: number, host: `${name}:27017` }))
  rs.initiate({ _id: 'rs0', members })
  print('rs0 is made')
}
while (!rs.status().members.some((member) => member.stateStr === 'PRIMARY')) sleep(200)
