import { readListen } from './listen.js'
import { readAgentName, readCallerHeader, readInjectedHeader, readPrincipalName, readRequestHeader, readUpstreamName } from './names.js'
import { parseBodyLimit, parseClockTolerance, parseDuration, parseLifetime, parsePositiveDuration } from './units.js'
import { readHttpUrl, readIssuer, readResource, readUpstreamUrl } from './url.js'
import {
  readEnvName, readFilePath, readHeaderText, readHost, readMountPath, readOrigin, readPointer, readRedisPrefix, readScope,
  readTimestamp, readTokenTemplate, readTokenType, readToolPattern,
} from './values.js'

/**
 * What the schema's keyword `reads` names: how a text becomes a value. Each throws a ValueError, so that the check of
 * a value and the reading of it are the same code and cannot drift apart.
 */
export const READERS = {
  agent: readAgentName,
  bodyLimit: parseBodyLimit,
  callerHeader: readCallerHeader,
  clockTolerance: parseClockTolerance,
  duration: parsePositiveDuration,
  durationOrZero: parseDuration,
  envName: readEnvName,
  file: readFilePath,
  headerText: readHeaderText,
  host: readHost,
  httpUrl: readHttpUrl,
  injectedHeader: readInjectedHeader,
  issuer: readIssuer,
  lifetime: parseLifetime,
  listen: readListen,
  mountPath: readMountPath,
  origin: readOrigin,
  pointer: readPointer,
  principal: readPrincipalName,
  redisPrefix: readRedisPrefix,
  requestHeader: readRequestHeader,
  resource: readResource,
  scope: readScope,
  timestamp: readTimestamp,
  tokenTemplate: readTokenTemplate,
  tokenType: readTokenType,
  toolPattern: readToolPattern,
  upstream: readUpstreamName,
  upstreamUrl: readUpstreamUrl,
} as const satisfies Record<string, (text: string) => unknown>

export type ReaderName = keyof typeof READERS
