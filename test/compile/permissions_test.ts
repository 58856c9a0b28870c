/** What the build notices about permissions. */

import assert from "node:assert/strict";
import { missingPermissions, permissionFlags } from "../../compile/permissions.ts";

Deno.test("permissions: a program's text shows what it needs", () => {
  const text = 'new Deno.Command(x); Deno.dlopen(y); read("/proc/stat")';
  assert.deepEqual(missingPermissions(text, ["ffi"]), ["run", "all"]);
  assert.deepEqual(missingPermissions(text, ["all"]), []);
  assert.deepEqual(missingPermissions("Deno.commands()", []), []);
});

Deno.test("permissions: as options", () => {
  assert.deepEqual(permissionFlags(["ffi", "all"]), ["--allow-ffi", "--allow-all"]);
});
