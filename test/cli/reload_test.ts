import assert from "node:assert/strict";
import { compareOptions } from "../../src/cli/reload.ts";

Deno.test("changes are sorted into those that apply and those that need a restart", () => {
  const before = new Map([["percentage", ["10"]], ["mtu", ["1400"]], ["copies", ["2"]]]);
  const after = new Map([["percentage", ["50"]], ["mtu", ["1500"]], ["copies", ["2"]], ["times", [
    "3",
  ]]]);
  const reloadable = new Set(["percentage", "copies"]);
  assert.deepEqual(compareOptions(before, after, reloadable), {
    applied: ["percentage 10 -> 50"],
    needRestart: ["mtu 1400 -> 1500", "times (default) -> 3"],
  });
});
