/** Which commit an executable is made from. */

import { commitOfCheckout } from "../src/version.ts";
import { run } from "./command.ts";

/**
 * The commit of the checkout at `root`, shortened, with ", modified" behind it when files differ from
 * the commit; "no commit" outside of a checkout.
 */
export async function revisionOf(root: URL): Promise<string> {
  const commit = commitOfCheckout(root);
  if (commit === undefined) return "no commit";
  try {
    const status = await run(["git", "status", "--porcelain"], { cwd: root });
    return commit + (status.output.trim() === "" ? "" : ", modified");
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return commit; // git is not installed
    throw error;
  }
}
