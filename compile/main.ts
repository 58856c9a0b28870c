/**
 * Makes the executables: each program one file to copy to a server.
 *
 *     deno task compile [--target TRIPLE,… | --target all] [--kind compiled|packed] [--output DIR]
 *
 * Those for this machine go to dist/, those for another target to dist/TRIPLE/, with SHA256SUMS
 * beside them. Each is made by `deno compile` if the runtime that needs (denort) can be had
 * (downloaded, or named by DENORT_BIN), else as a self-extracting file with this very Deno in it.
 */

import { parseArgs } from "node:util";
import { build, type Kind } from "./build.ts";
import { ROOT } from "./bundle.ts";
import { findTarget, TARGETS } from "./targets.ts";

async function main(): Promise<void> {
  const { values } = parseArgs({
    args: Deno.args,
    options: { target: { type: "string" }, kind: { type: "string" }, output: { type: "string" } },
  });
  const { kind, target: wanted } = values;
  if (kind !== undefined && kind !== "compiled" && kind !== "packed") {
    throw new Error(`--kind: expected compiled or packed, got "${kind}"`);
  }
  const targets = wanted === "all"
    ? TARGETS
    : (wanted?.split(",") ?? [undefined]).map((name) => findTarget(name));
  for (const target of targets) {
    const isOwn = target.triple === Deno.build.target;
    const base = values.output ?? new URL("dist", ROOT).pathname;
    const directory = isOwn ? base : `${base}/${target.triple}`;
    await build({ target, directory, kind: kind as Kind | undefined, say: console.log });
  }
}

if (import.meta.main) {
  try {
    await main();
  } catch (error) {
    console.error(`compile: ${error instanceof Error ? error.message : String(error)}`);
    Deno.exit(1);
  }
}
