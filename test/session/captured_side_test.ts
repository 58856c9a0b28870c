import assert from "node:assert/strict";
import fc from "fast-check";
import { BlockPool } from "../../src/session/block_pool.ts";
import {
  CapturedEnd,
  CapturedSide,
  type SegmentReceiver,
} from "../../src/session/captured_side.ts";
import { SessionCounters } from "../../src/session/counters.ts";
import { NONE, SegmentFlag, SegmentStore } from "../../src/session/segment_store.ts";
import { type Fields, fromClient } from "./harness.ts";

/** Client and server begin here; the client's numbers wrap around within the stream. */
const ISS = -4000;
const ACK = 0x7ffffff0;
const PIECE = 1448;

/** A captured side with everything it handed over. */
class Bench implements SegmentReceiver {
  readonly counters = new SessionCounters();
  readonly store: SegmentStore;
  readonly side: CapturedSide;
  tail = NONE;
  readonly stream: number[] = [];
  /** Stream positions at which turns start, and what was read before each. */
  readonly turns: [number, number][] = [];
  readonly pushes: number[] = [];
  readonly #held: number[] = [];

  constructor(poolBytes = 8 << 20, missesPackets = true) {
    this.store = new SegmentStore(new BlockPool(poolBytes));
    this.side = new CapturedSide({ ...this, missesPackets }, PIECE);
    this.side.startAfterSyn(ISS, 1);
  }

  append(segment: number): void {
    const length = this.store.length[segment];
    assert.ok(length > 0 && length <= PIECE);
    const bytes = new Uint8Array(length);
    this.store.copyTo(segment, 0, length, new DataView(bytes.buffer), 0);
    if (this.store.flags[segment] & SegmentFlag.TurnStart) {
      this.turns.push([this.stream.length, this.store.answer[segment]]);
    }
    this.stream.push(...bytes);
    if (this.store.flags[segment] & SegmentFlag.Push) this.pushes.push(this.stream.length);
    this.tail = segment;
    this.#held.push(segment);
  }

  /** Captures a packet; positions count from the first byte of either direction. */
  capture(
    { at = 0, read = 0, length, nowMs = 1, ...fields }: Fields & {
      at?: number;
      read?: number;
      length?: number;
      nowMs?: number;
    },
  ): boolean {
    const payload = length === undefined
      ? undefined
      : Uint8Array.from({ length }, (_, i) => byteAt(at + i));
    const packet = fromClient({
      sequence: (ISS + 1 + at) | 0,
      acknowledgment: fields.flags.includes("A") ? (ACK + read) | 0 : 0,
      payload,
      ...fields,
    });
    return this.side.accept(packet, nowMs, this);
  }

  /** Nothing is left in the store once everything handed over is given back. */
  close(): void {
    this.side.clear();
    for (const segment of this.#held) this.store.release(segment);
    assert.equal(this.store.used, 0);
    assert.equal(this.store.pool.usedBlocks, 0);
  }
}

function byteAt(position: number): number {
  return (position * 7 + (position >> 8)) & 255;
}

Deno.test("whatever order segments come in, the stream is the client's, each byte once", () => {
  const piece = fc.record({
    at: fc.nat(9000),
    length: fc.oneof(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: 6000 })),
  });
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 60 }), (pieces) => {
      const bench = new Bench();
      bench.capture({ flags: "A" });
      const covered: boolean[] = [];
      let next = 0;
      for (const { at, length } of pieces) {
        assert.equal(bench.capture({ flags: "A", at, length }), true);
        for (let i = at; i < at + length; i++) covered[i] = true;
        while (covered[next]) next++;
        assert.equal(bench.stream.length, next);
        assert.equal(bench.side.next, (ISS + 1 + next) | 0);
        assert.equal(bench.side.hasGap, covered.length > next);
      }
      assert.ok(bench.stream.every((byte, i) => byte === byteAt(i)));
      const captured = pieces.reduce((sum, { length }) => sum + length, 0);
      assert.equal(bench.counters.capturedBytes, next);
      assert.ok(bench.counters.duplicateBytes <= captured - next);
      assert.deepEqual(bench.turns, next > 0 ? [[0, 0]] : []);
      bench.close();
    }),
    { numRuns: 300 },
  );
});

Deno.test("turns start where the client had read more, in whatever order segments come", () => {
  const flight = fc.record({ length: fc.integer({ min: 1, max: 4000 }), read: fc.nat(3) });
  fc.assert(
    fc.property(
      fc.array(flight, { minLength: 1, maxLength: 8 }),
      fc.infiniteStream(fc.nat(1000)),
      (flights, random) => {
        const bench = new Bench();
        bench.capture({ flags: "A" });
        const packets: { at: number; length: number; read: number; order: number }[] = [];
        const expected: [number, number][] = [];
        let at = 0;
        let read = 0;
        flights.forEach((one, i) => {
          read += one.read * 100;
          const more = one.read * 100;
          if (more > 0 || i === 0) expected.push([at, more]);
          for (let left = one.length; left > 0; left -= 1000) {
            const length = Math.min(1000, left);
            packets.push({ at, length, read, order: random.next().value! });
            at += length;
          }
        });
        packets.sort((a, b) => a.order - b.order);
        for (const { order: _, ...packet } of packets) bench.capture({ flags: "A", ...packet });
        assert.deepEqual(bench.turns, expected);
        bench.close();
      },
    ),
    { numRuns: 200 },
  );
});

Deno.test("a long segment is cut, the push stays at its end", () => {
  const bench = new Bench();
  bench.capture({ flags: "PA", length: 4000 });
  assert.deepEqual(bench.pushes, [4000]);
  bench.capture({ flags: "PA", at: 8000, length: 3000 });
  bench.capture({ flags: "A", at: 4000, length: 4000 });
  assert.deepEqual(bench.pushes, [4000, 11_000]);
  bench.close();
});

Deno.test("a greeting read before the first request belongs to the first turn", () => {
  const bench = new Bench();
  bench.capture({ flags: "A", read: 0 });
  bench.capture({ flags: "A", read: 50 });
  assert.equal(bench.side.answerRead, 50);
  bench.capture({ flags: "PA", read: 50, length: 10 });
  assert.deepEqual(bench.turns, [[0, 50]]);
  assert.equal(bench.side.answerRead, 0);
});

Deno.test("the FIN ends the stream behind its last byte, also when it comes early", () => {
  const bench = new Bench();
  bench.capture({ flags: "A" });
  bench.capture({ flags: "FA", at: 20, read: 30, nowMs: 5 });
  assert.equal(bench.side.end, CapturedEnd.Open);
  assert.equal(bench.side.gapSinceMs, 5);
  bench.capture({ flags: "A", at: 0, length: 20, read: 10, nowMs: 6 });
  assert.equal(bench.side.end, CapturedEnd.Fin);
  assert.equal(bench.side.endAnswer, 20);
  assert.equal(bench.side.hasGap, false);
  bench.capture({ flags: "A", at: 21, read: 500 });
  assert.equal(bench.side.endAnswer, 20);
});

Deno.test("a reset ends it at once, or when the bytes before it have come", () => {
  const at = new Bench();
  at.capture({ flags: "PA", length: 10 });
  at.capture({ flags: "RA", at: 10, read: 40 });
  assert.deepEqual([at.side.end, at.side.endAnswer], [CapturedEnd.Reset, 40]);

  const early = new Bench();
  early.capture({ flags: "A" });
  early.capture({ flags: "R", at: 10, nowMs: 9 });
  assert.equal(early.side.end, CapturedEnd.Open);
  early.capture({ flags: "PA", length: 10 });
  assert.equal(early.side.end, CapturedEnd.Reset);

  const missing = new Bench();
  missing.capture({ flags: "A", at: 5, length: 5 });
  missing.capture({ flags: "R", at: 10 });
  missing.capture({ flags: "PA", length: 5 });
  assert.equal(missing.side.end, CapturedEnd.Reset);
});

Deno.test("resets the server cannot have believed change nothing", () => {
  const bench = new Bench();
  bench.capture({ flags: "PA", length: 100 });
  for (const at of [0, 99, -5000, -(1 << 26), 0x7000_0000]) bench.capture({ flags: "R", at });
  // One is older than the connection, two are farther away than any window.
  assert.equal(bench.counters.unbelievedResets, 2);
  // Inside the window: not believed either, unless all before it comes and nothing behind it.
  bench.capture({ flags: "R", at: 500 });
  bench.capture({ flags: "RA", at: 50_000 });
  assert.deepEqual([bench.side.end, bench.side.hasGap], [CapturedEnd.Open, false]);
  bench.capture({ flags: "PA", at: 100, length: 60_000 });
  assert.deepEqual([bench.side.end, bench.stream.length], [CapturedEnd.Open, 60_100]);
  assert.equal(bench.counters.unbelievedResets, 3);
  bench.capture({ flags: "R", at: 60_100 });
  assert.equal(bench.side.end, CapturedEnd.Reset);
});

Deno.test("a reset behind the FIN is told of, whichever is captured first", () => {
  const bench = new Bench();
  bench.capture({ flags: "FA", at: 0 });
  bench.capture({ flags: "R", at: 1 });
  assert.deepEqual([bench.side.end, bench.side.resetAfterFin], [CapturedEnd.Fin, true]);

  const turned = new Bench();
  turned.capture({ flags: "R", at: 1 });
  assert.equal(turned.side.end, CapturedEnd.Open);
  turned.capture({ flags: "FA", at: 0 });
  assert.deepEqual([turned.side.end, turned.side.resetAfterFin], [CapturedEnd.Fin, true]);
});

Deno.test("an acknowledgement shows that bytes are missing", () => {
  const bench = new Bench();
  bench.capture({ flags: "A" });
  bench.capture({ flags: "A", at: 300, read: 10, nowMs: 20 });
  assert.equal(bench.side.gapSinceMs, 20);
  bench.capture({ flags: "A", at: 300, read: 10, nowMs: 25 });
  assert.equal(bench.side.gapSinceMs, 20);
  bench.capture({ flags: "A", length: 100, nowMs: 30 });
  assert.equal(bench.side.gapSinceMs, 30); // there was progress
  bench.capture({ flags: "A", at: 100, length: 200, nowMs: 31 });
  assert.equal(bench.side.hasGap, false);
});

Deno.test("stragglers of an older connection change nothing", () => {
  const bench = new Bench();
  bench.capture({ flags: "A", at: -100_000, read: -5_000_000, nowMs: 50 });
  bench.capture({ flags: "PA", at: -100_000, length: 10, read: -5_000_000, nowMs: 51 });
  bench.capture({ flags: "RA", at: -90_000, nowMs: 52 });
  assert.equal(bench.side.heardAtMs, 1);
  assert.equal(bench.side.end, CapturedEnd.Open);
  bench.capture({ flags: "A" });
  bench.capture({ flags: "PA", length: 10, read: 70 });
  assert.deepEqual(bench.turns, [[0, 70]]);
});

Deno.test("what is missing when the capture ends or the client comes back is a gap", () => {
  const ends = (missing: boolean, how: (side: CapturedSide) => void): CapturedEnd => {
    const bench = new Bench();
    bench.capture({ flags: "A", at: missing ? 5 : 0, length: 10 });
    how(bench.side);
    bench.close();
    return bench.side.end;
  };
  assert.equal(ends(false, (side) => side.declareStopped()), CapturedEnd.Stopped);
  assert.equal(ends(true, (side) => side.declareStopped()), CapturedEnd.Gap);
  assert.equal(ends(false, (side) => side.declareReset()), CapturedEnd.Reset);
  assert.equal(ends(true, (side) => side.declareReset()), CapturedEnd.Gap);
  assert.equal(ends(true, (side) => side.declareGap()), CapturedEnd.Gap);
});

Deno.test("a segment whose payload was cut by the capture is a gap", () => {
  const bench = new Bench();
  bench.capture({ flags: "PA", length: 10 });
  const packet = fromClient({
    flags: "A",
    sequence: (ISS + 11) | 0,
    acknowledgment: ACK,
    absentPayloadBytes: 100,
  });
  bench.side.accept(packet, 1, bench);
  assert.equal(bench.side.end, CapturedEnd.Gap);
  assert.equal(bench.counters.truncatedSegments, 1);
  assert.equal(bench.stream.length, 10);
});

Deno.test("megabytes behind a missing segment are no gap, as long as there is memory", () => {
  const bench = new Bench(64 << 20);
  const bytes = 8 << 20;
  bench.capture({ flags: "A" });
  for (let at = 10; at < bytes; at += 1000) {
    // Now and then two segments change places.
    const swap = at % 7000 === 10 && at + 2000 < bytes;
    if (swap) bench.capture({ flags: "A", at: at + 1000, length: 1000 });
    bench.capture({ flags: "A", at, length: 1000 });
    if (swap) at += 1000;
  }
  assert.equal(bench.side.end, CapturedEnd.Open);
  bench.capture({ flags: "A", length: 10 });
  assert.equal(bench.side.hasGap, false);
  assert.ok(bench.side.bytes >= bytes);
  bench.close();
});

Deno.test("where memory is scarce it is not kept for what may never be sent", () => {
  const bench = new Bench();
  bench.capture({ flags: "A" });
  for (let at = 10; bench.side.end === CapturedEnd.Open; at += 60_000) {
    assert.ok(at < 8 << 20);
    bench.capture({ flags: "A", at, length: 60_000 });
  }
  assert.equal(bench.side.end, CapturedEnd.Gap);
  assert.equal(bench.store.used, 0);
});

Deno.test("when memory is used up the segment is refused", () => {
  const bench = new Bench(1 << 20);
  let at = 0;
  while (bench.capture({ flags: "A", at, length: 1448 })) at += 1448;
  assert.equal(at, 512 * 1448);
  bench.close();
});

Deno.test("packets with numbers the server does not accept change nothing", () => {
  const bench = new Bench();
  bench.capture({ flags: "PA", length: 100 });
  // What they acknowledge is long past, or was never sent; their bytes are beyond any window.
  bench.capture({ flags: "PA", at: 100, read: -100_000_000, length: 50 });
  bench.capture({ flags: "FA", at: 100, read: -100_000_000 });
  bench.capture({ flags: "PA", at: 100, read: 2_000_000_000, length: 50 });
  bench.capture({ flags: "PA", at: 1_900_000_000, length: 50 });
  bench.capture({ flags: "FA", at: 1_900_000_000 });
  assert.deepEqual([bench.stream.length, bench.side.end], [100, CapturedEnd.Open]);
  assert.equal(bench.side.hasGap, false);
  assert.equal(bench.counters.implausiblePackets, 5);
  bench.capture({ flags: "FA", at: 100, length: 10 });
  assert.deepEqual([bench.stream.length, bench.side.end], [110, CapturedEnd.Fin]);
  bench.close();
});

Deno.test("a FIN behind which the client goes on was somebody else's", () => {
  const bench = new Bench();
  bench.capture({ flags: "PA", length: 100 });
  bench.capture({ flags: "FA", at: 5000 });
  bench.capture({ flags: "PA", at: 100, length: 8000 });
  assert.deepEqual([bench.stream.length, bench.side.end], [8100, CapturedEnd.Open]);
  bench.capture({ flags: "FA", at: 9000 });
  bench.capture({ flags: "FA", at: 8100 });
  assert.equal(bench.side.end, CapturedEnd.Fin);
  bench.close();
});

Deno.test("packets far ahead that agree are believed where the capture may have missed some", () => {
  for (const missesPackets of [true, false]) {
    const bench = new Bench(8 << 20, missesPackets);
    bench.capture({ flags: "PA", length: 100 });
    // The client read 50 MB of which no acknowledgement was captured.
    for (const read of [50_000_000, 50_100_000, 50_200_000]) {
      bench.capture({ flags: "A", at: 100, read });
    }
    bench.capture({ flags: "PA", at: 100, read: 50_200_000, length: 10 });
    assert.equal(bench.stream.length, missesPackets ? 110 : 100);
    bench.close();
  }
});

Deno.test("what the client sent beyond what was captured in order is known", () => {
  const bench = new Bench();
  assert.equal(bench.side.missingBytes, 0);
  bench.capture({ flags: "PA", at: 0, length: 10 });
  bench.capture({ flags: "PA", at: 30, length: 5 });
  assert.equal(bench.side.missingBytes, 25);
  bench.capture({ flags: "PA", at: 10, length: 20 });
  assert.equal(bench.side.missingBytes, 0);
  bench.capture({ flags: "PA", at: 40, length: 5 });
  bench.side.declareGap();
  // Given up, and the client goes on all the same.
  bench.capture({ flags: "PA", at: 45, length: 100 });
  bench.capture({ flags: "PA", at: 45, length: 100 });
  assert.equal(bench.side.missingBytes, 110);
});
