// Reads what the coverage run has just measured and fails below the bar. A source file that no test has loaded is not in
// the report at all, so its absence is a failure too.
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const BAR = 95
const root = new URL('../', import.meta.url)
const summary = JSON.parse(readFileSync(new URL('.tap/report/coverage-summary.json', root), 'utf8'))
const measured = Object.keys(summary).map((path) => path.replaceAll('\\', '/'))
const typesOnly = (file) => !/^(?:export )?(?:async )?(?:const|function|class|let)\b|^(?:await|import\(|[a-z]+\.)/m.test(readFileSync(new URL(`src/${file}`, root), 'utf8'))
const missing = readdirSync(new URL('src/', root), { recursive: true })
  .map((name) => name.replaceAll('\\', '/'))
  .filter((name) => name.endsWith('.ts') && !measured.some((path) => path.endsWith(`/src/${name}`)) && !typesOnly(name))

/** Of src alone: tests load parts of the benchmark, too. */
const sum = (kind) => {
  const counts = Object.entries(summary).filter(([path]) => path.startsWith(fileURLToPath(new URL('src/', root)))).map(([, figures]) => figures[kind])
  const total = counts.reduce((all, each) => all + each.total, 0)
  return { total, pct: Math.floor(10_000 * counts.reduce((all, each) => all + each.covered, 0) / total) / 100 }
}
const [lines, branches] = [sum('lines'), sum('branches')]
console.log(`coverage of src: ${lines.pct} % of ${lines.total} lines, ${branches.pct} % of ${branches.total} branches; the bar is ${BAR} %`)
for (const name of missing) console.log(`src/${name} was loaded by no test`)
if (lines.pct < BAR || branches.pct < BAR || missing.length > 0) process.exitCode = 1
