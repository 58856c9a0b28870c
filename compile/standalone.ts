/** Makes an executable with `deno compile`, where its runtime (denort) can be had. */

import { run } from "./command.ts";
import { permissionFlags } from "./permissions.ts";
import { ENGINE_FLAGS, type Program } from "./programs.ts";
import type { Target } from "./targets.ts";

/** The runtime may have to be downloaded first, about 40 MB. */
const TIMEOUT_MS = 120_000;

/**
 * Compiles the bundled `program` into the file `output`.
 *
 * No code cache: `deno compile` would keep it under a fixed name in /tmp, where any user could put
 * one of his own before root starts the program.
 *
 * @returns why it did not work; `undefined` when it did
 */
export async function compileStandalone(
  program: Program,
  target: Target,
  bundlePath: string,
  output: string,
): Promise<string | undefined> {
  const ended = await run(
    [
      ...[Deno.execPath(), "compile", "--quiet", "--target", target.triple, "--output", output],
      ...["--no-check", "--no-config", "--no-lock", "--no-remote", "--no-npm", "--no-prompt"],
      ...["--no-code-cache", ENGINE_FLAGS, ...permissionFlags(program.permissions), bundlePath],
    ],
    { timeoutMs: TIMEOUT_MS },
  );
  return ended.code === 0 ? undefined : rootCause(ended.complaint);
}

/** The runtime's first cause; what follows only narrows it down. */
function rootCause(complaint: string): string {
  const cause = /error sending request for url \((\S+)\)/.exec(complaint);
  if (cause !== null) return `${cause[1]} cannot be fetched`;
  return complaint.replace(/ Stack backtrace:.*$/, "").slice(0, 300) ||
    "deno compile gave no reason";
}
