import type { Dispatcher } from 'undici'
import type { Credential } from '../credential/credential.js'
import { ValetError } from '../errors.js'
import type { Exchange } from '../exchange.js'

/** undici's own options and, beside them, whose call this is; interceptors pass it down with the rest. */
export interface CallOptions extends Dispatcher.DispatchOptions {
  readonly exchange: Exchange
  /** Names and values in turn. */
  readonly headers: string[]
}

export type Dispatch = Dispatcher['dispatch']

/** Header names with the text before and after the token. */
type Templates = readonly (readonly [name: string, before: string, after: string])[]

/**
 * Puts the credential of the call on it, or nothing where it goes out without one. Inside the replay, so that each
 * attempt carries the credential of that moment.
 * @param headers header name → template with `{token}`
 * @param isCurrent whether the config of the moment has this upstream at this origin: a credential is of that config, and one
 *   that came with another server must not reach this one by a call that was under way. Such a call throws a `ValetError`
 */
export function inject (headers: ReadonlyMap<string, string>, isCurrent: () => boolean): (dispatch: Dispatch) => Dispatch {
  const templates: Templates = [...headers].map(([name, template]) => {
    const [before = '', after = ''] = template.split('{token}')
    return [name.toLowerCase(), before, after]
  })
  return (dispatch) => (options, handler) => {
    const call = options as CallOptions
    const { credential } = call.exchange
    if (credential === undefined) return dispatch(call, handler)
    if (!isCurrent()) throw new ValetError('ERR_CREDENTIAL_UNAVAILABLE', { cause: 'the config has this upstream at another server since the call came', retryAfter: 1 })
    return dispatch({ ...call, headers: withCredential(call.headers, templates, credential) } as CallOptions, handler)
  }
}

function withCredential (headers: readonly string[], templates: Templates, credential: Credential): string[] {
  const token = credential.token.reveal()
  const all = headers.slice()
  for (const [name, before, after] of templates) all.push(name, before + token + after)
  return all
}
