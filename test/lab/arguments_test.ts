/** Unit tests of the lab's command lines. */

import assert from "node:assert/strict";
import { parseArguments } from "./arguments.ts";

Deno.test("options take values, switches none, and lists grow", () => {
  const args = ["--a", "1", "--json", "--twist", "half", "--a", "2", "--twist", "empty,equal"];
  const values = parseArguments(args, ["a", "twist"], ["json"], ["twist"]);
  assert.deepEqual([...values], [["a", "2"], ["json", "true"], ["twist", "half,empty,equal"]]);
});

Deno.test("what is unknown or unfinished is refused", () => {
  assert.throws(() => parseArguments(["--b", "1"], ["a"]), /unknown argument --b/);
  assert.throws(() => parseArguments(["--a"], ["a"]), /--a needs a value/);
});
