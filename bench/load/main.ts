/** The load generator's process: a set of connections to each port, told by the parent what to do with which. */
import { Connection } from './connection.js'
import { burst, closedLoop, paced } from './loops.js'
import type { Destination, LoadCommand, Outcome } from './protocol.js'

const sets = new Map<number, Connection[]>()

async function open (to: Destination, count: number, warmup: number): Promise<Outcome> {
  const first = new Connection(to)
  await first.open()
  const session = await first.initialize()
  const connections = [first]
  sets.set(to.port, connections)
  // A hundred at a time: a thousand at once may overflow a server's backlog, and a dropped SYN costs a second.
  while (connections.length < count) {
    const batch = Array.from({ length: Math.min(100, count - connections.length) }, () => new Connection(to))
    await Promise.all(batch.map(connection => connection.open()))
    connections.push(...batch)
  }
  for (const connection of connections) connection.use(session)
  return await closedLoop(connections, warmup)
}

async function obey (command: LoadCommand): Promise<Outcome | undefined> {
  if (command.do === 'open') return await open(command.to, command.connections, command.warmup)
  const connections = sets.get(command.port) ?? []
  switch (command.do) {
    case 'closed': return await closedLoop(connections, command.calls)
    case 'paced': return await paced(connections, command.rate, command.seconds)
    case 'burst': return await burst(connections)
    case 'close':
      for (const connection of connections) connection.close()
      sets.delete(command.port)
  }
}

process.on('message', (command: LoadCommand) => {
  obey(command).then(
    outcome => process.send?.({ outcome }),
    (error: Error) => process.send?.({ error: error.message }))
})
process.on('disconnect', () => { process.exit() })
process.send?.({ ready: true })
