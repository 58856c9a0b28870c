import assert from "node:assert/strict";
import fc from "fast-check";
import { BlockPool } from "../../src/session/block_pool.ts";
import { NONE, SegmentStore } from "../../src/session/segment_store.ts";

const command = fc.record({
  kind: fc.constantFrom("store", "store", "store", "trim", "release"),
  which: fc.nat(1000),
  length: fc.integer({ min: 1, max: 1500 }),
  sharesTail: fc.boolean(),
});

Deno.test("segments keep their bytes whatever happens to their neighbours", () => {
  fc.assert(
    fc.property(fc.array(command, { maxLength: 200 }), (commands) => {
      const pool = new BlockPool(1 << 20);
      const store = new SegmentStore(pool);
      const model: { segment: number; bytes: Uint8Array }[] = [];
      let fill = 0;
      for (const { kind, which, length, sharesTail } of commands) {
        const at = which % Math.max(1, model.length);
        const one = model[at];
        if (kind === "store") {
          const bytes = Uint8Array.from({ length: length + 3 }, () => fill++);
          const tail = sharesTail ? model.at(-1)?.segment ?? NONE : NONE;
          const segment = store.store(new DataView(bytes.buffer), 3, length, tail);
          assert.notEqual(segment, NONE);
          store.sequence[segment] = 100;
          model.push({ segment, bytes: bytes.subarray(3) });
        } else if (one === undefined) continue;
        else if (kind === "release") {
          store.release(one.segment);
          model.splice(at, 1);
        } else if (one.bytes.length > 1) {
          const count = 1 + (which % (one.bytes.length - 1));
          const before = store.sequence[one.segment];
          store.trimFront(one.segment, count);
          assert.equal(store.sequence[one.segment], before + count);
          one.bytes = one.bytes.subarray(count);
        }
        assert.equal(store.used, model.length);
      }
      for (const { segment, bytes } of model) {
        assert.equal(store.length[segment], bytes.length);
        const copy = new Uint8Array(bytes.length + 10);
        store.copyTo(segment, 0, bytes.length, new DataView(copy.buffer), 5);
        assert.deepEqual(copy.subarray(5, 5 + bytes.length), bytes);
        const middle = bytes.length >> 1;
        store.copyTo(segment, middle, bytes.length - middle, new DataView(copy.buffer), 0);
        assert.deepEqual(copy.subarray(0, bytes.length - middle), bytes.subarray(middle));
      }
      for (const { segment } of model) store.release(segment);
      assert.equal(pool.usedBlocks, 0);
      assert.equal(store.used, 0);
    }),
    { numRuns: 60 },
  );
});

Deno.test("small segments of one session share a block", () => {
  const pool = new BlockPool(1 << 20);
  const store = new SegmentStore(pool);
  let tail = NONE;
  for (let i = 0; i < 20; i++) tail = store.store(new DataView(new ArrayBuffer(100)), 0, 100, tail);
  assert.equal(pool.usedBlocks, 1);
  store.store(new DataView(new ArrayBuffer(100)), 0, 100, tail);
  assert.equal(pool.usedBlocks, 2);
});

Deno.test("when memory is used up nothing is stored, and nothing is lost", () => {
  const pool = new BlockPool(1 << 20);
  const store = new SegmentStore(pool);
  const held: number[] = [];
  for (;;) {
    const segment = store.store(new DataView(new ArrayBuffer(1500)), 0, 1500, NONE);
    if (segment === NONE) break;
    held.push(segment);
  }
  assert.equal(held.length, 512);
  assert.equal(store.used, 512);
  store.release(held.pop()!);
  assert.notEqual(store.store(new DataView(new ArrayBuffer(1500)), 0, 1500, NONE), NONE);
});
