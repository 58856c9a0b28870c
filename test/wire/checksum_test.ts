import assert from "node:assert/strict";
import fc from "fast-check";
import { foldChecksum, onesComplementSum, onesComplementSumView } from "../../src/wire/checksum.ts";

/** RFC 1071 section 1, word by word. */
function naiveSum(bytes: Uint8Array, offset: number, length: number, initial: number): number {
  let sum = BigInt(initial);
  for (let i = 0; i < length; i++) {
    sum += BigInt(bytes[offset + i]) << (i % 2 === 0 ? 8n : 0n);
  }
  while (sum > 0xffffn) sum = (sum & 0xffffn) + (sum >> 16n);
  return Number(sum);
}

Deno.test("sum agrees with the definition at every alignment and length", () => {
  fc.assert(fc.property(
    fc.uint8Array({ minLength: 0, maxLength: 200 }),
    fc.nat(200),
    fc.nat(200),
    fc.integer({ min: 0, max: 0x7fffffff }),
    (bytes, start, span, initial) => {
      const offset = Math.min(start, bytes.length);
      const length = Math.min(span, bytes.length - offset);
      const expected = naiveSum(bytes, offset, length, initial);
      assert.equal(onesComplementSum(bytes, offset, length, initial), expected);
    },
  ));
});

Deno.test("sum does not overflow on long runs of the largest words", () => {
  const bytes = new Uint8Array(300_001).fill(0xff);
  for (const length of [65535, 65536, 131072, 300_001]) {
    assert.equal(
      onesComplementSum(bytes, 0, length, 0x7fffffff),
      naiveSum(bytes, 0, length, 0x7fffffff),
    );
  }
});

Deno.test("sum of a part of a larger buffer takes the array's own offset into account", () => {
  const whole = Uint8Array.from({ length: 64 }, (_, i) => i * 37);
  const part = whole.subarray(5, 50);
  assert.equal(onesComplementSum(part, 3, 40), naiveSum(whole, 8, 40, 0));
});

Deno.test("partial sums of even length add up", () => {
  const bytes = Uint8Array.from({ length: 101 }, (_, i) => i * 91 + 3);
  const first = onesComplementSum(bytes, 0, 38);
  assert.equal(onesComplementSum(bytes, 38, 63, first), onesComplementSum(bytes, 0, 101));
});

Deno.test("a range outside the view throws instead of reading on", () => {
  const view = new DataView(new ArrayBuffer(10));
  assert.throws(() => onesComplementSumView(view, 0, 11), RangeError);
  assert.throws(() => onesComplementSumView(view, 9, 16), RangeError);
});

Deno.test("example of RFC 1071 section 3", () => {
  const bytes = Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7);
  assert.equal(onesComplementSum(bytes, 0, 8), 0xddf2);
  assert.equal(foldChecksum(0x2ddf0), 0x220d);
  assert.equal(foldChecksum(0), 0xffff);
  assert.equal(foldChecksum(0xffff), 0);
  assert.equal(foldChecksum(0xffffffff), 0);
});
