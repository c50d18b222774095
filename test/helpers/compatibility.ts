import { readFile, writeFile } from 'node:fs/promises'

const PAGE = new URL('../../docs/compatibility.md', import.meta.url)

/** Puts what a run has shown into its part of docs/compatibility.md, which is made of such parts and not written by hand. */
export async function writeCompatibility (part: 'conformance' | 'interop', markdown: string): Promise<void> {
  const page = await readFile(PAGE, 'utf8')
  const [begin, end] = [`<!-- ${part}: begin -->`, `<!-- ${part}: end -->`]
  const [from, to] = [page.indexOf(begin), page.indexOf(end)]
  if (from < 0 || to < from) throw new Error(`docs/compatibility.md has no place for ${part}: put back the lines ${begin} and ${end}`)
  await writeFile(PAGE, `${page.slice(0, from + begin.length)}\n${markdown.trim()}\n${page.slice(to)}`)
}
