/** The runtime that goes into a self-extracting file: this very Deno, or from npm for another target. */

import { run } from "./command.ts";
import { digest } from "./digest.ts";
import type { Target } from "./targets.ts";

/** A runtime, ready to be packed. */
export interface Runtime {
  version: string;
  sizeBytes: number;
  sha256: string;
  packed: Uint8Array<ArrayBuffer>;
}

/**
 * The runtime for `target`.
 *
 * @param directory for files on the way
 * @throws Error when it cannot be had
 */
export async function runtimeFor(target: Target, directory: string): Promise<Runtime> {
  const isOwn = target.triple === Deno.build.target;
  const { path, version } = isOwn
    ? { path: Deno.execPath(), version: Deno.version.deno }
    : await fromNpm(target, directory);
  const bytes = await Deno.readFile(path);
  if (String.fromCharCode(...bytes.subarray(1, 4)) !== "ELF") {
    throw new Error(`${path} is not the runtime itself (an ELF file); start the build with Deno's`);
  }
  const [sha256, packed] = await Promise.all([digest(bytes), gzip(bytes)]);
  return { version, sizeBytes: bytes.length, sha256, packed };
}

/**
 * Fetches a runtime from npm: the running version, or where its package lacks that the last before
 * it of the same minor version.
 */
async function fromNpm(target: Target, directory: string) {
  const running = Deno.version.deno;
  const [major, minor] = running.split(".");
  const range = `${target.runtimePackage}@>=${major}.${minor}.0 <=${running}`;
  const packed = await run(
    ["npm", "pack", "--silent", "--pack-destination", directory, range],
    { timeoutMs: 300_000 },
  );
  const file = packed.output.trim().split("\n").at(-1) ?? "";
  const version = /(\d+\.\d+\.\d+)\.tgz$/.exec(file)?.[1];
  if (packed.code !== 0 || version === undefined) {
    throw new Error(`npm did not give ${range}: ${packed.complaint}`);
  }
  const unpacked = await run(["tar", "-xzf", `${directory}/${file}`, "-C", directory]);
  if (unpacked.code !== 0) throw new Error(`${file} cannot be unpacked: ${unpacked.complaint}`);
  return { path: `${directory}/package/deno`, version };
}

/** Compresses; gzip because every server can unpack it. */
export async function gzip(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
