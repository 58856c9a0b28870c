import assert from "node:assert/strict";
import { constants, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { isZstdMagic, ZstdFrames } from "../../src/wire/zstd_frames.ts";

function endsWhole(data: Uint8Array, pieceBytes = Math.max(1, data.length)): boolean {
  const frames = new ZstdFrames();
  for (let at = 0; at < data.length && !frames.isLost;) {
    at += frames.feed(data.subarray(at, at + pieceBytes));
    assert.equal(frames.bytesRead, at);
  }
  return frames.isAtEnd;
}

function compressed(size: number, isRandom: boolean, withChecksum: boolean): Uint8Array {
  const data = new Uint8Array(size).map((_, at) => isRandom ? (at * 2_654_435_761) >>> 13 : 7);
  return zstdCompressSync(data, {
    params: { [constants.ZSTD_c_checksumFlag]: withChecksum ? 1 : 0 },
  });
}

Deno.test("whole frames end whole, in whatever pieces; no beginning of one does", () => {
  const size = fc.constantFrom(0, 1, 200, 300, 70_000, 400_000);
  fc.assert(
    fc.property(
      fc.tuple(size, fc.boolean(), fc.boolean()),
      fc.nat(),
      fc.integer({ min: 1, max: 5000 }),
      (form, cut, pieceBytes) => {
        const data = compressed(...form);
        assert.equal(
          isZstdMagic(new DataView(data.buffer, data.byteOffset).getUint32(0, true)),
          true,
        );
        assert.equal(endsWhole(data, pieceBytes), true);
        const length = 1 + cut % (data.length - 1);
        assert.equal(endsWhole(data.subarray(0, length), pieceBytes), false);
      },
    ),
    { numRuns: 60 },
  );
});

Deno.test("frames one behind the other, skippable ones among them", () => {
  const frame = compressed(1000, true, true);
  const skippable = Uint8Array.from([0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
  const data = Uint8Array.from([...frame, ...skippable, ...frame]);
  assert.equal(endsWhole(data), true);
  assert.equal(endsWhole(data.subarray(0, frame.length + 9)), false);
  assert.equal(endsWhole(Uint8Array.from([...frame, 1, 2, 3, 4, 5])), false);
});

Deno.test("it stops at the end of each block", () => {
  const data = compressed(400_000, false, true);
  const frames = new ZstdFrames();
  let stops = 0;
  for (let at = 0; at < data.length; stops++) at += frames.feed(data.subarray(at));
  assert.equal(stops, Math.ceil(400_000 / (128 << 10)));
});

Deno.test("other magic numbers are none of zstd's", () => {
  assert.equal(isZstdMagic(0x0a0d0d0a), false);
  assert.equal(isZstdMagic(0x184d2a60), false);
});
