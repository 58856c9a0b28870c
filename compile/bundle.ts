/** Makes a program and everything it imports one JavaScript file. */

import { BUILT_FROM } from "../src/version.ts";
import { run } from "./command.ts";
import { missingPermissions } from "./permissions.ts";
import type { Program } from "./programs.ts";

/** The project's root. */
export const ROOT = new URL("../", import.meta.url);

/**
 * Bundles `program` into the file `path`.
 *
 * Names are kept, so that the stack of a fault can be read.
 *
 * @param revision the commit the file says it is made from
 * @returns the program's text
 */
export async function bundle(program: Program, path: string, revision: string): Promise<string> {
  const ended = await run(
    [
      Deno.execPath(),
      ...["bundle", "--quiet", "--frozen", "--platform", "deno", "--minify", "--keep-names"],
      ...["--output", path, program.main],
    ],
    { cwd: ROOT },
  );
  if (ended.code !== 0) throw new Error(`${program.main} cannot be bundled: ${ended.complaint}`);
  const text = await Deno.readTextFile(path);
  if (!text.includes(BUILT_FROM)) {
    throw new Error(`${program.main} does not report its version: ${BUILT_FROM} is not in it`);
  }
  const missing = missingPermissions(text, program.permissions);
  if (missing.length > 0) {
    throw new Error(
      `${program.name} needs the permissions ${
        missing.join(", ")
      }: add them in compile/programs.ts`,
    );
  }
  const finished = text.replaceAll(BUILT_FROM, revision);
  await Deno.writeTextFile(path, finished);
  return finished;
}
