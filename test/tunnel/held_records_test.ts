import assert from "node:assert/strict";
import fc from "fast-check";
import { RECORD_BYTES } from "../../src/tunnel/codec.ts";
import { HeldRecords } from "../../src/tunnel/held_records.ts";
import { CLIENT, TARGET, TARGET_PORT, targetPacket } from "./packets.ts";

function sequenceAt(held: HeldRecords, offset: number): number {
  return offset < 0 ? -1 : held.view.getInt32(offset + 24);
}

Deno.test("a record is there for all who ask for its own connection", () => {
  const held = new HeldRecords(8, RECORD_BYTES, 3000, 1);
  held.hold(targetPacket({ clientPort: 5, sequence: 77 }), false, 100);
  assert.equal(held.find(CLIENT, 6, TARGET, TARGET_PORT, 100), -1);
  assert.equal(held.find(CLIENT, 5, TARGET, TARGET_PORT + 1, 100), -1);
  assert.equal(sequenceAt(held, held.find(CLIENT, 5, TARGET, TARGET_PORT, 3100)), 77);
  assert.equal(sequenceAt(held, held.find(CLIENT, 5, TARGET, TARGET_PORT, 3100)), 77);
});

Deno.test("only what nobody has got counts as lost", () => {
  const held = new HeldRecords(2, RECORD_BYTES, 3000, 1);
  held.hold(targetPacket({ clientPort: 1 }), true, 0);
  held.hold(targetPacket({ clientPort: 2 }), false, 0);
  held.find(CLIENT, 2, TARGET, TARGET_PORT, 0);
  held.hold(targetPacket({ clientPort: 3 }), false, 0);
  held.hold(targetPacket({ clientPort: 4 }), false, 0);
  assert.deepEqual([held.evicted, held.expired], [0, 0]);
  held.hold(targetPacket({ clientPort: 5 }), false, 0);
  held.hold(targetPacket({ clientPort: 6 }), false, 3001);
  assert.deepEqual([held.evicted, held.expired, held.size], [1, 1, 2]);
});

Deno.test("the newest record of a connection replaces the one before", () => {
  const held = new HeldRecords(2, RECORD_BYTES, 3000, 1);
  for (let i = 0; i < 10; i++) held.hold(targetPacket({ sequence: i }), false, i);
  assert.equal(held.size, 1);
  assert.equal(held.evicted, 0);
  assert.equal(sequenceAt(held, held.find(CLIENT, 40000, TARGET, TARGET_PORT, 10)), 9);
});

Deno.test("what is too old is not delivered", () => {
  const held = new HeldRecords(8, RECORD_BYTES, 3000, 1);
  held.hold(targetPacket(), false, 100);
  assert.equal(held.find(CLIENT, 40000, TARGET, TARGET_PORT, 3101), -1);
  assert.deepEqual([held.expired, held.size], [1, 0]);
});

Deno.test("the ring does what a bounded Map in order of age does", () => {
  const step = fc.oneof(
    fc.record({ hold: fc.boolean(), clientPort: fc.nat(7), wait: fc.nat(40) }),
  );
  fc.assert(fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
    const capacity = 4;
    const maxAgeMs = 100;
    const held = new HeldRecords(capacity, RECORD_BYTES, maxAgeMs, 3);
    // The last `capacity` records held, with those replaced or found too old marked.
    let ring: { clientPort: number; sequence: number; at: number; live: boolean }[] = [];
    let nowMs = 0;
    steps.forEach(({ hold, clientPort, wait }, sequence) => {
      nowMs += wait;
      const known = ring.find((entry) => entry.live && entry.clientPort === clientPort);
      if (hold) {
        if (known !== undefined) known.live = false;
        ring = [...ring, { clientPort, sequence, at: nowMs, live: true }].slice(-capacity);
        held.hold(targetPacket({ clientPort, sequence }), false, nowMs);
        return;
      }
      const offset = held.find(CLIENT, clientPort, TARGET, TARGET_PORT, nowMs);
      const isGood = known !== undefined && nowMs - known.at <= maxAgeMs;
      if (known !== undefined && !isGood) known.live = false;
      assert.equal(sequenceAt(held, offset), isGood ? known.sequence : -1);
    });
    assert.equal(held.size, ring.filter((entry) => entry.live).length);
  }));
});
