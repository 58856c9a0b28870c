import assert from "node:assert/strict";
import { copyBytes } from "../../src/wire/copy.ts";

Deno.test("every length and alignment is copied, and nothing beside it", () => {
  const source = Uint8Array.from({ length: 200 }, (_, i) => (i * 37 + 128) & 255);
  const from = new DataView(source.buffer);
  for (let length = 0; length <= 100; length++) {
    for (let shift = 0; shift < 8; shift++) {
      const target = new Uint8Array(120).fill(0xee);
      copyBytes(from, shift, new DataView(target.buffer), 7 - shift, length);
      const expected = new Uint8Array(120).fill(0xee);
      expected.set(source.subarray(shift, shift + length), 7 - shift);
      assert.deepEqual(target, expected, `${length} bytes from ${shift}`);
    }
  }
});

Deno.test("every pattern of bits survives", () => {
  const from = new DataView(new ArrayBuffer(16));
  const to = new DataView(new ArrayBuffer(16));
  // Not a number, signalling and quiet, and the most negative: what a conversion would change.
  for (const word of [0x7ff0000000000001n, 0xfff8000000000000n, 1n << 63n, (1n << 64n) - 1n]) {
    from.setBigUint64(3, word);
    copyBytes(from, 0, to, 0, 16);
    assert.equal(to.getBigUint64(3), word);
  }
});

Deno.test("a range outside of the memory is refused", () => {
  const view = new DataView(new ArrayBuffer(64));
  assert.throws(() => copyBytes(view, 40, new DataView(new ArrayBuffer(64)), 0, 32), RangeError);
});
