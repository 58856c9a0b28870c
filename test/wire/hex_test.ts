import assert from "node:assert/strict";
import fc from "fast-check";
import { readHex, writeHex } from "../../src/wire/hex.ts";

Deno.test("hex is what a simple conversion makes, at every alignment, and reads back", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 50 }), fc.nat(9), fc.nat(5), (data, at, from) => {
      const target = new Uint8Array(256);
      const source = new Uint8Array(from + data.length);
      source.set(data, from);
      const words = new Uint32Array(target.buffer);
      const end = writeHex(source, from, data.length, target, words, at);
      const text = new TextDecoder().decode(target.subarray(at, end));
      const simple = Array.from(data, (byte) => byte.toString(16).padStart(2, "0") + " ").join("");
      assert.equal(text, simple);
      assert.ok(target.subarray(0, at).every((byte) => byte === 0));
      assert.ok(target.subarray(end).every((byte) => byte === 0));
      const back = new Uint8Array(64);
      const count = readHex(target, at, Math.max(at, end - 1), back);
      assert.deepEqual(back.subarray(0, count), data);
    }),
  );
});

Deno.test("what is no hex is refused", () => {
  const read = (text: string) =>
    readHex(new TextEncoder().encode(text), 0, text.length, new Uint8Array(99));
  assert.equal(read(""), 0);
  assert.equal(read("0A fF"), 2);
  for (const text of ["0", "0a f", "0a0b", "0g", "0a  0b", "no_change"]) {
    assert.equal(read(text), -1, text);
  }
});
