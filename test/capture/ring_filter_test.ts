import assert from "node:assert/strict";
import { arrivingFilter, incomingFilter } from "../../src/capture/ring_filter.ts";
import { ipv4 } from "./packets.ts";

// What the kernel makes of the programs is tested with real rings in ring_test.ts.

const ALL = { above: 0, upTo: Infinity };

Deno.test("conditions that ask for nothing cost no instructions", () => {
  const plain = incomingFilter([[0x06, 0, 0, 100]], ALL);
  assert.equal(plain.length, 4);
  assert.deepEqual(incomingFilter([[0x06, 0, 0, 100]], ALL, { index: 0, count: 1 }), plain);
  const bounded = incomingFilter([[0x06, 0, 0, 100]], { above: 0, upTo: 1500 });
  assert.equal(bounded.length, plain.length + 3);
});

Deno.test("jumps stay inside the program, which ends with a result", () => {
  const lengths = { above: 10, upTo: 1500 };
  const partition = { index: 2, count: 5 };
  const program = arrivingFilter([{ port: 80, address: ipv4("198.18.0.1") }], lengths, partition);
  program.forEach(([code, jt, jf], index) => {
    const isJump = (code & 0x07) === 0x05;
    if (isJump) assert.ok(index + 1 + Math.max(jt, jf) < program.length, `instruction ${index}`);
  });
  assert.equal(program[program.length - 1][0], 0x06);
});

Deno.test("a partition out of range is refused", () => {
  for (
    const partition of [{ index: 2, count: 2 }, { index: -1, count: 2 }, { index: 0, count: 0 }]
  ) {
    assert.throws(() => incomingFilter([], ALL, partition), /^RangeError: A partition is 0 to/);
  }
});
