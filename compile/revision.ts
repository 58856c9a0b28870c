/** Which commit an executable is made from. */

import { run } from "./command.ts";

/**
 * The commit of the checkout at `root`, shortened, with ", modified" behind it when files differ from
 * the commit; "no commit" outside of a checkout.
 */
export async function revisionOf(root: URL): Promise<string> {
  try {
    const commit = await run(["git", "rev-parse", "--short=12", "HEAD"], { cwd: root });
    if (commit.code !== 0) return "no commit";
    const status = await run(["git", "status", "--porcelain"], { cwd: root });
    return commit.output.trim() + (status.output.trim() === "" ? "" : ", modified");
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "no commit"; // git is not installed
    throw error;
  }
}
