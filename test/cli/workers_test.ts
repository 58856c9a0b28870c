import assert from "node:assert/strict";
import { parseWorkers } from "../../src/cli/workers.ts";

Deno.test("auto leaves a core to the service, and takes at least one and at most eight", () => {
  assert.deepEqual([1, 2, 3, 9, 10, 64].map((cores) => parseWorkers("auto", cores)), [
    ...[1, 1, 2, 8, 8, 8],
  ]);
});

Deno.test("a number is taken as it is; everything else is refused in one sentence", () => {
  assert.equal(parseWorkers("1"), 1);
  assert.equal(parseWorkers("16"), 16);
  for (const text of ["0", "17", "-1", "1.5", "two", ""]) {
    assert.throws(
      () => parseWorkers(text),
      { message: `--workers ${text}: expected a number from 1 to 16, or auto` },
    );
  }
});
