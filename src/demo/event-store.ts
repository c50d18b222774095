import type { EventStore, JSONRPCMessage } from '@modelcontextprotocol/server'

/**
 * Remembers the last events of one MCP session, so that a client can resume a stream by `Last-Event-ID`.
 *
 * @param limit events kept; what is older can no longer be resumed
 */
export function createEventStore (limit = 500): EventStore {
  const events = new Map<string, { streamId: string, message: JSONRPCMessage }>()
  let last = 0

  return {
    async storeEvent (streamId, message) {
      const id = String(++last)
      events.set(id, { streamId, message })
      events.delete(String(last - limit))
      return id
    },

    async getStreamIdForEventId (id) {
      return events.get(id)?.streamId
    },

    async replayEventsAfter (lastEventId, { send }) {
      const streamId = events.get(lastEventId)?.streamId ?? ''
      for (const [id, event] of events) {
        // The event that opens a stream has no message: it only gives the client an id to resume from.
        const due = Number(id) > Number(lastEventId) && event.streamId === streamId && 'jsonrpc' in event.message
        if (due) await send(id, event.message)
      }
      return streamId
    },
  }
}
