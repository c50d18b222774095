// `node --import ./test/typescript.mjs file.ts`: runs TypeScript from its source, here and in the processes that tests start.
import { register } from 'node:module'

register('./typescript-hooks.mjs', import.meta.url)
