import assert from "node:assert/strict";
import fc from "fast-check";
import {
  TcpOptions,
  writeMssOption,
  writeSackPermittedOption,
  writeTimestampsOption,
  writeWindowScaleOption,
} from "../../src/wire/tcp_options.ts";

const int32 = fc.integer({ min: -0x80000000, max: 0x7fffffff });

function parse(bytes: number[]): { options: TcpOptions; good: boolean } {
  const options = new TcpOptions();
  const view = new DataView(Uint8Array.from(bytes).buffer);
  return { options, good: options.parse(view, 0, bytes.length) };
}

Deno.test("what the writers write is read back", () => {
  fc.assert(fc.property(
    fc.integer({ min: 1, max: 65535 }),
    fc.nat(14),
    int32,
    int32,
    (mss, shift, tsval, tsecr) => {
      const view = new DataView(new ArrayBuffer(30));
      let at = writeMssOption(view, 3, mss);
      at = writeWindowScaleOption(view, at, shift);
      at = writeSackPermittedOption(view, at);
      at = writeTimestampsOption(view, at, tsval, tsecr);
      assert.equal(at, 27);
      const options = new TcpOptions();
      assert.equal(options.parse(view, 3, 24), true);
      assert.deepEqual(
        [options.mss, options.windowScale, options.sackPermitted, options.hasTimestamps],
        [mss, shift, true, true],
      );
      assert.deepEqual([options.tsval, options.tsecr, options.sackCount], [tsval, tsecr, 0]);
    },
  ));
});

Deno.test("parse forgets what it read before", () => {
  const options = new TcpOptions();
  const view = new DataView(new ArrayBuffer(24));
  writeTimestampsOption(view, 0, 5, 6);
  options.parse(view, 0, 12);
  assert.equal(options.parse(view, 0, 0), true);
  assert.deepEqual(options, new TcpOptions());
});

Deno.test("a window scale over 14 counts as 14", () => {
  assert.equal(parse([3, 3, 200]).options.windowScale, 14);
});

Deno.test("a list cut short keeps whole options and whole SACK blocks", () => {
  const timestamps = [1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 8];
  const sack = [
    1,
    1,
    5,
    26,
    0,
    0,
    0,
    1,
    0,
    0,
    0,
    2,
    0,
    0,
    0,
    3,
    0,
    0,
    0,
    4,
    0,
    0,
    0,
    5,
    0,
    0,
    0,
    6,
  ];
  const { options, good } = parse([...timestamps, ...sack].slice(0, 24));
  assert.equal(good, true);
  assert.deepEqual([options.tsval, options.tsecr, options.sackCount], [9, 8, 1]);
  assert.deepEqual([options.sackLeft[0], options.sackRight[0]], [1, 2]);
  assert.equal(parse([...timestamps, ...sack]).options.sackCount, 3);
  assert.equal(parse([8, 10, 0, 0, 0, 9, 0, 0, 0]).options.hasTimestamps, false);
  assert.equal(parse([2]).good, true);
});

Deno.test("impossible lengths are refused, and what came before stays", () => {
  for (
    const tail of [[9, 0], [9, 1], [2, 3, 0], [3, 4, 0, 0], [4, 3, 0], [5, 2], [5, 11], [5, 42], [
      8,
      9,
    ]]
  ) {
    const { options, good } = parse([2, 4, 5, 0xb4, ...tail]);
    assert.equal(good, false, tail.join());
    assert.equal(options.mss, 1460);
    assert.equal(options.sackCount, 0);
  }
});

Deno.test("unknown options are skipped, and nothing is read behind the end of the list", () => {
  const { options, good } = parse([19, 18, ...new Array(16).fill(0xee), 2, 4, 2, 0]);
  assert.deepEqual([good, options.mss], [true, 512]);
  assert.equal(parse([0, 2, 4, 2, 0]).options.mss, 0);
});

Deno.test("any bytes, offset and length: no exception, nothing read outside", () => {
  const options = new TcpOptions();
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), fc.nat(70), fc.integer(), (bytes, at, length) => {
      const offset = Math.min(at, bytes.length);
      const view = new DataView(bytes.slice().buffer);
      const good = options.parse(view, offset, length);
      const first = JSON.stringify({ good, ...options });
      // Bytes outside the list must not matter.
      const end = Math.min(offset + Math.max(0, Math.min(length, 40)), bytes.length);
      const other = bytes.map((byte, i) => (i >= offset && i < end ? byte : ~byte));
      const again = options.parse(new DataView(other.buffer), offset, length);
      assert.equal(JSON.stringify({ good: again, ...options }), first);
    }),
    { numRuns: 2000 },
  );
});
