import assert from "node:assert/strict";
import fc from "fast-check";
import { BlockPool } from "../../src/session/block_pool.ts";

Deno.test("blocks have their own memory, are counted, and come back with the last user", () => {
  const command = fc.record({
    kind: fc.constantFrom("take", "retain", "release"),
    which: fc.nat(200),
  });
  fc.assert(
    fc.property(fc.array(command, { maxLength: 300 }), (commands) => {
      const pool = new BlockPool(1 << 20, 60_000);
      assert.equal(pool.blockBytes, 65_536);
      assert.equal(pool.maxBlocks, 16);
      const users = new Map<number, number>();
      for (const { kind, which } of commands) {
        const held = [...users.keys()];
        const block = held[which % Math.max(1, held.length)];
        if (kind === "take") {
          const taken = pool.take();
          if (users.size === 16) assert.equal(taken, -1);
          else {
            assert.ok(taken >= 0 && !users.has(taken));
            assert.equal(pool.writtenTo[taken], pool.offsetOf(taken));
            users.set(taken, 1);
            new Uint8Array(pool.viewOf(taken).buffer, pool.offsetOf(taken), 65_536).fill(taken);
          }
        } else if (block === undefined) continue;
        else if (kind === "retain") {
          pool.retain(block);
          users.set(block, users.get(block)! + 1);
        } else {
          pool.release(block);
          if (users.get(block) === 1) users.delete(block);
          else users.set(block, users.get(block)! - 1);
        }
        assert.equal(pool.usedBlocks, users.size);
        assert.equal(pool.usedBytes, users.size * 65_536);
      }
      for (const block of users.keys()) {
        const at = pool.offsetOf(block);
        assert.equal(pool.viewOf(block).getUint8(at), block);
        assert.equal(pool.viewOf(block).getUint8(at + 65_535), block);
      }
    }),
    { numRuns: 50 },
  );
});

Deno.test("memory is taken an extent at a time, up to the cap", () => {
  const pool = new BlockPool(3 << 20);
  assert.equal(pool.blockBytes, 2048);
  const taken = new Set<number>();
  for (let i = 0; i < 3 * 512; i++) taken.add(pool.take());
  assert.equal(taken.size, 3 * 512);
  assert.equal(pool.take(), -1);
  pool.release(7);
  assert.equal(pool.take(), 7);
});
