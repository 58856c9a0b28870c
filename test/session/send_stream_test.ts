import assert from "node:assert/strict";
import fc from "fast-check";
import { BlockPool } from "../../src/session/block_pool.ts";
import { NONE, SegmentStore } from "../../src/session/segment_store.ts";
import { SendStream } from "../../src/session/send_stream.ts";

function makeStream(lengths: number[], start: number): { stream: SendStream; store: SegmentStore } {
  const store = new SegmentStore(new BlockPool(4 << 20));
  const stream = new SendStream(store);
  stream.startAt(start);
  let at = 0;
  for (const length of lengths) {
    const bytes = Uint8Array.from({ length }, () => at++);
    stream.push(store.store(new DataView(bytes.buffer), 0, length, stream.tail));
  }
  return { stream, store };
}

Deno.test("every byte is found in its segment until it is released", () => {
  fc.assert(fc.property(
    fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 20 }),
    fc.constantFrom(0, -20, 0x7ffffff0),
    fc.nat(400),
    (lengths, start, release) => {
      const { stream, store } = makeStream(lengths, start);
      const total = lengths.reduce((sum, length) => sum + length, 0);
      assert.equal(stream.bytes, total);
      assert.equal(stream.end, (start + total) | 0);
      const to = Math.min(release, total);
      stream.releaseTo((start + to) | 0);
      let kept = 0;
      while (kept < total && store.used > 0 && stream.start !== ((start + kept) | 0)) kept++;
      assert.ok(kept <= to || stream.head === NONE);
      let cursor = NONE;
      for (let at = 0; at < total; at++) {
        const isHeld = at >= kept && stream.head !== NONE;
        cursor = stream.find((start + at) | 0, at % 3 === 0 ? NONE : cursor);
        if (!isHeld) {
          assert.equal(cursor, NONE);
          continue;
        }
        const byte = new Uint8Array(1);
        store.copyTo(
          cursor,
          (start + at - store.sequence[cursor]) | 0,
          1,
          new DataView(byte.buffer),
          0,
        );
        assert.equal(byte[0], at & 255);
      }
      assert.equal(stream.find(stream.end, NONE), NONE);
      stream.clear();
      assert.equal(store.used, 0);
      assert.equal(stream.bytes, 0);
    },
  ));
});

Deno.test("what is held is numbered anew when the beginning moves", () => {
  const { stream, store } = makeStream([5, 7], 0);
  stream.startAt(-3);
  assert.equal(stream.start, -3);
  assert.equal(stream.end, 9);
  assert.equal(store.sequence[stream.tail], 2);
});

Deno.test("what is kept survives its acknowledgement, and can be put in front again", () => {
  const { stream, store } = makeStream([10, 20, 30], 100);
  stream.keepFrom(110);
  stream.releaseTo(130);
  assert.deepEqual([stream.start, stream.bytes, store.used], [130, 30, 2]); // the first is gone
  assert.ok(stream.keeps);
  stream.restoreKept();
  assert.deepEqual([stream.start, stream.bytes, stream.keeps], [110, 50, false]);
  const out = new Uint8Array(1);
  store.copyTo(stream.find(110, NONE), 0, 1, new DataView(out.buffer), 0);
  assert.equal(out[0], 10);
  stream.releaseTo(160);
  assert.equal(store.used, 0);
});

Deno.test("all of a stream can be restored, nothing is kept twice, and clearing leaves nothing", () => {
  const { stream, store } = makeStream([10, 20], 0);
  stream.keepFrom(0);
  stream.releaseTo(30);
  assert.deepEqual([stream.head, stream.bytes, store.used], [NONE, 0, 2]);
  stream.restoreKept();
  assert.deepEqual([stream.start, stream.bytes], [0, 30]);
  stream.keepFrom(0);
  stream.releaseTo(10);
  stream.keepFrom(10); // what was kept before is dropped
  assert.equal(store.used, 1);
  stream.releaseTo(30);
  stream.clear();
  assert.equal(store.used, 0);
  assert.equal(stream.keeps, false);
});

Deno.test("long requests are not kept: memory is bounded", () => {
  const { stream, store } = makeStream(new Array(50).fill(1460), 0);
  stream.keepFrom(0);
  stream.releaseTo(49 * 1460);
  assert.equal(stream.keeps, false);
  assert.equal(store.used, 1);
});
