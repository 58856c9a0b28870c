/** The version names the commit that is checked out. */

import assert from "node:assert/strict";
import { revisionOf } from "../../compile/revision.ts";
import { VERSION, versionText } from "../../src/version.ts";

const root = new URL("../../", import.meta.url);

Deno.test("version: as git says", async () => {
  const revision = await revisionOf(root);
  const commit = /^[0-9a-f]{12}\b/.exec(revision)?.[0];
  assert.equal(versionText(), commit === undefined ? VERSION : `${VERSION} (${commit})`);
});

Deno.test("version: a directory that is no checkout has no commit", async () => {
  assert.equal(await revisionOf(new URL("file:///proc/")), "no commit");
});
