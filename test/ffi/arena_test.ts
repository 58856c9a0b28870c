import assert from "node:assert/strict";
import { Arena } from "../../ffi/arena.ts";
import { libc } from "../../ffi/libc.ts";

Deno.test("an arena is zeroed and shows native memory", () => {
  const arena = new Arena(10_000);
  try {
    assert.equal(arena.bytes.length, 10_000);
    assert.equal(arena.bytes.every((byte) => byte === 0), true);
    assert.equal(arena.address % 4096, 0);
    assert.equal(BigInt(arena.address), arena.base);
    arena.bytes.set([1, 2, 3, 4], 100);
    libc().memcpy(arena.addressAt(200), arena.addressAt(100), 4);
    assert.equal(arena.view.getUint32(200), 0x01020304);
  } finally {
    arena.free();
  }
});

Deno.test("pieces are aligned, do not overlap and end with a clear error", () => {
  const arena = new Arena(256);
  try {
    const first = arena.allocate(3);
    const second = arena.allocate(10, 64);
    const third = arena.allocate(1, 1);
    assert.deepEqual([first, second, third], [0, 64, 74]);
    assert.equal(arena.freeBytes, 181);
    assert.throws(
      () => arena.allocate(200),
      /^RangeError: The arena of 256 bytes is full: 200 bytes were asked for, 176 are left/,
    );
    assert.equal(arena.allocate(176), 80);
    assert.equal(arena.allocate(0), 256);
    assert.throws(() => arena.allocate(8, 3), RangeError);
    assert.throws(() => arena.allocate(-1), RangeError);
  } finally {
    arena.free();
  }
});

Deno.test("after free, views read nothing instead of unmapped memory", () => {
  const arena = new Arena(4096);
  const words = new Uint32Array(arena.bytes.buffer, 0, 4);
  arena.free();
  arena.free();
  assert.equal(arena.bytes.length, 0);
  assert.equal(words[0], undefined);
  assert.throws(() => arena.view.getUint8(0), TypeError);
});

Deno.test("an arena of an impossible size is refused", () => {
  assert.throws(() => new Arena(0), RangeError);
  assert.throws(() => new Arena(1.5), RangeError);
  assert.throws(() => new Arena(2 ** 50), /mmap failed: ENOMEM \(Cannot allocate memory\)/);
});
