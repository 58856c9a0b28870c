/** SHA-256, as sha256sum(1) prints it. */

/** The digest of `bytes`, 64 hexadecimal digits. */
export async function digest(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

/** Writes SHA256SUMS beside `names` in `directory`; `sha256sum -c SHA256SUMS` there checks them. */
export async function writeChecksums(directory: string, names: readonly string[]): Promise<void> {
  let lines = "";
  for (const name of names) {
    lines += `${await digest(await Deno.readFile(`${directory}/${name}`))}  ${name}\n`;
  }
  await Deno.writeTextFile(`${directory}/SHA256SUMS`, lines);
}
