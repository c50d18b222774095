import neostandard, { resolveIgnoresFromGitignore } from 'neostandard'

export default [
  ...neostandard({ ts: true, ignores: resolveIgnoresFromGitignore() }),
  {
    rules: {
      // Fastify's style puts a space before a function's parentheses; the rest is neostandard's own.
      '@stylistic/space-before-function-paren': ['error', 'always'],
      'no-void': 'off',
    },
  },
  {
    // What the status page runs in a browser.
    files: ['src/http/admin/page/*.js'],
    languageOptions: { globals: Object.fromEntries(['document', 'fetch', 'sessionStorage', 'AbortController', 'TextDecoder', 'performance', 'setTimeout', 'setInterval'].map((name) => [name, 'readonly'])) },
  },
]
