/** The version names the commit that is checked out. */

import assert from "node:assert/strict";
import { revisionOf } from "../../compile/revision.ts";
import { commitOfCheckout, VERSION, versionText } from "../../src/version.ts";

const root = new URL("../../", import.meta.url);

Deno.test("version: as git says", async () => {
  const revision = await revisionOf(root);
  const commit = /^[0-9a-f]{12}\b/.exec(revision)?.[0];
  assert.equal(versionText(), commit === undefined ? VERSION : `${VERSION} (${commit})`);
  const git = new Deno.Command("git", { args: ["rev-parse", "HEAD"], cwd: root });
  const { success, stdout } = await git.output();
  // Git may not be willing to look at another user's checkout.
  if (success) assert.equal(commit, new TextDecoder().decode(stdout).slice(0, 12));
});

Deno.test("version: a detached head, and a branch among the packed references", async () => {
  const directory = await Deno.makeTempDir();
  const at = new URL(`file://${directory}/`);
  try {
    await Deno.mkdir(`${directory}/.git`);
    await Deno.writeTextFile(
      `${directory}/.git/HEAD`,
      "0123456789abcdef0123456789abcdef01234567\n",
    );
    assert.equal(commitOfCheckout(at), "0123456789ab");
    await Deno.writeTextFile(`${directory}/.git/HEAD`, "ref: refs/heads/main\n");
    assert.equal(commitOfCheckout(at), undefined);
    const packed = "# pack-refs with: peeled\nfedcba9876543210fedc refs/heads/main\n";
    await Deno.writeTextFile(`${directory}/.git/packed-refs`, packed);
    assert.equal(commitOfCheckout(at), "fedcba987654");
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("version: a directory that is no checkout has no commit", async () => {
  assert.equal(await revisionOf(new URL("file:///proc/")), "no commit");
});
