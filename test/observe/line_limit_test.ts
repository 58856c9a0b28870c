import assert from "node:assert/strict";
import { LineLimit } from "../../src/observe/line_limit.ts";

Deno.test("a flood leaves a few lines, and says how many were left out", () => {
  const lines: string[] = [];
  const limit = new LineLimit((line) => lines.push(line), 3, 1000);
  for (let i = 0; i < 100; i++) limit.say(`line ${i}`, 5000 + i);
  assert.deepEqual(lines, ["line 0", "line 1", "line 2"]);
  limit.say("later", 6000);
  assert.equal(lines[3], "later (97 lines like this were left out before)");
  limit.say("too soon", 6999);
  limit.say("in time", 7000);
  assert.equal(lines[4], "in time (1 lines like this were left out before)");
  for (let i = 0; i < 10; i++) limit.say("after a rest", 100_000);
  assert.equal(lines.length, 5 + 3);
});

Deno.test("over a long time the bound holds", () => {
  let count = 0;
  const limit = new LineLimit(() => count++, 10, 2000);
  for (let nowMs = 0; nowMs < 600_000; nowMs += 3) limit.say("again", nowMs);
  assert.ok(count >= 300 && count <= 310, `${count} lines`);
});
