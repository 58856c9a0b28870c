import assert from "node:assert/strict";
import fc from "fast-check";
import { RangeSet } from "../../src/session/range_set.ts";

/** Positions are small offsets from a base that may lie right before the wrap-around. */
const base = fc.constantFrom(0, 0x7fffffff - 60, -60, -0x80000000);
const command = fc.oneof(
  fc.record({ kind: fc.constant("add" as const), left: fc.nat(120), length: fc.nat(12) }),
  fc.record({ kind: fc.constant("advance" as const), to: fc.nat(120) }),
  fc.record({ kind: fc.constant("clear" as const) }),
);

/** The ranges of a set as pairs relative to the base. */
function pairs(set: RangeSet, origin: number): number[][] {
  return Array.from(
    { length: set.count },
    (_, i) => [(set.left[i] - origin) | 0, (set.right[i] - origin) | 0],
  );
}

/** The runs of `true` in a bitmap; touching ranges are one. */
function runs(bytes: boolean[]): number[][] {
  const found: number[][] = [];
  bytes.forEach((isHeld, at) => {
    if (!isHeld) return;
    const last = found.at(-1);
    if (last !== undefined && last[1] === at) last[1] = at + 1;
    else found.push([at, at + 1]);
  });
  return found;
}

Deno.test("ranges behave as a set of bytes", () => {
  fc.assert(fc.property(base, fc.array(command, { maxLength: 40 }), (origin, commands) => {
    const set = new RangeSet();
    const model: boolean[] = new Array(140).fill(false);
    for (const one of commands) {
      if (one.kind === "clear") {
        set.clear();
        model.fill(false);
      } else if (one.kind === "advance") {
        // What touches the run that covers the position leaves with it.
        let end = one.to;
        const end0 = runs(model).filter(([left]) => left <= end);
        for (const [, right] of end0) end = Math.max(end, right);
        assert.equal(set.advance((origin + one.to) | 0), (origin + end) | 0);
        model.fill(false, 0, end);
      } else {
        const right = one.left + one.length;
        const index = set.add((origin + one.left) | 0, (origin + right) | 0);
        if (one.length === 0) assert.equal(index, -1);
        else if (index >= 0) {
          model.fill(true, one.left, right);
          const [left, end] = pairs(set, origin)[index];
          assert.ok(left <= one.left && end >= right);
        } else assert.equal(set.count, 16);
      }
      assert.deepEqual(pairs(set, origin), runs(model));
      assert.equal(set.bytes, model.filter(Boolean).length);
      for (let at = 0; at < 135; at += 3) {
        assert.equal(set.find((origin + at) | 0) >= 0, model[at]);
      }
    }
  }));
});

Deno.test("a range too many is forgotten, one that joins others is not", () => {
  const set = new RangeSet();
  for (let i = 0; i < 16; i++) assert.equal(set.add(i * 10, i * 10 + 5), i);
  assert.equal(set.add(1000, 1001), -1);
  assert.equal(set.add(5, 10), 0);
  assert.equal(set.count, 15);
  assert.equal(set.add(1000, 1001), 15);
});
