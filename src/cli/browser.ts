import open from 'open'

/** Opens an address in this machine's browser, if it has one; the address was printed too, so nothing hangs on it. */
export function openBrowser (address: URL): void {
  open(address.href).then((browser) => browser.on('error', () => {}), () => {})
}
