import assert from "node:assert/strict";
import fc from "fast-check";
import { seqDiff, seqLess, seqLessEq, seqMax } from "../../src/wire/sequence.ts";

const int32 = fc.integer({ min: -0x80000000, max: 0x7fffffff });
const step = fc.integer({ min: 1, max: 0x7fffffff });

Deno.test("order holds across the wrap-around", () => {
  fc.assert(fc.property(int32, step, (a, ahead) => {
    const b = (a + ahead) | 0;
    assert.equal(seqDiff(b, a), ahead);
    assert.equal(seqDiff(a, b), -ahead);
    assert.deepEqual([seqLess(a, b), seqLess(b, a), seqLess(a, a)], [true, false, false]);
    assert.deepEqual([seqLessEq(a, b), seqLessEq(b, a), seqLessEq(a, a)], [true, false, true]);
    assert.deepEqual([seqMax(a, b), seqMax(b, a)], [b, b]);
  }));
});
