import assert from "node:assert/strict";
import fc from "fast-check";
import { Delays } from "../../src/session/delays.ts";

Deno.test("quantiles are right within 7 %, and never below", () => {
  fc.assert(fc.property(
    fc.array(fc.integer({ min: 0, max: 5_000_000 }), { minLength: 1, maxLength: 200 }),
    fc.constantFrom(0.5, 0.9, 0.99, 1),
    (values, share) => {
      const delays = new Delays();
      for (const value of values) delays.note(value);
      const sorted = [...values].sort((a, b) => a - b);
      const exact = sorted[Math.ceil(values.length * share - 1e-9) - 1];
      const found = delays.quantileMs(share);
      assert.ok(found >= exact && found <= exact * 1.07, `${found} for ${exact}`);
      assert.equal(delays.maxMs, sorted.at(-1));
      assert.equal(delays.total, values.length);
    },
  ));
});

Deno.test("what came since an earlier state, also of delays from another thread", () => {
  const before = new Delays();
  for (const value of [1, 2, 9000]) before.note(value);
  const after = new Delays();
  after.add(structuredClone(before));
  assert.equal(after.maxMs, 9000);
  for (const value of [5, 5, 100]) after.note(value);
  const recent = after.since(before);
  assert.equal(recent.total, 3);
  assert.equal(recent.quantileMs(0.5), 5);
  assert.ok(recent.maxMs >= 100 && recent.maxMs <= 107, String(recent.maxMs));
  assert.equal(after.since(after).maxMs, 0);
});

Deno.test("nothing has no delay, and a clock that went back none either", () => {
  const delays = new Delays();
  assert.equal(delays.quantileMs(0.99), 0);
  delays.note(-5);
  assert.equal(delays.quantileMs(0.99), 0);
});
