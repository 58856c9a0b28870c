import assert from "node:assert/strict";
import fc from "fast-check";
import { DumpCounters } from "../../src/trafficdump/counters.ts";
import { EntryKind, forEachEntry, Outbox } from "../../src/trafficdump/outbox.ts";
import { StreamTable } from "../../src/trafficdump/stream_table.ts";
import { Packet, ParseResult } from "../../src/wire/packet.ts";
import { TcpFlag } from "../../src/wire/tcp_flags.ts";
import { buildPacket } from "../sim/packet_builder.ts";

const PORT = 80;

/** A table, and what came out of it. */
class Bench {
  readonly counters = new DumpCounters();
  readonly records: { client: number; position: number; bytes: Uint8Array }[] = [];
  packets: Uint8Array[] = [];
  nowMs = 1;
  readonly table: StreamTable;
  readonly #packet = new Packet();

  constructor(maxQueueBytes = 1 << 26, maxBytes = 1 << 24) {
    const outbox = new Outbox(maxQueueBytes, (batch, length) => {
      forEachEntry(batch, length, (entry, offset) => {
        const bytes = new Uint8Array(batch).slice(offset, offset + entry.length);
        if (entry.kind === EntryKind.Packet) this.packets.push(bytes);
        else {
          assert.equal(entry.port, PORT);
          this.records.push({ client: entry.clientPort, position: entry.position, bytes });
        }
      });
    });
    const { counters } = this;
    this.table = new StreamTable({ outbox, counters, maxBytes, withPackets: true });
  }

  send(
    flags: number,
    sequence: number,
    text: string | Uint8Array = "",
    acknowledgment = 1,
    client = 1000,
  ): void {
    const bytes = buildPacket({
      source: 1,
      sourcePort: client,
      destination: 2,
      destinationPort: PORT,
      sequence: sequence | 0,
      acknowledgment,
      flags,
      payload: typeof text === "string" ? new TextEncoder().encode(text) : text,
    });
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    assert.equal(this.#packet.parseIp(bytes, view, 0, bytes.length), ParseResult.Tcp);
    this.table.onPacket(this.#packet, 5_000, this.nowMs);
  }

  texts(): string[] {
    return this.records.map(({ bytes }) => new TextDecoder().decode(bytes));
  }
}

const { Ack, Fin, Rst, Syn } = TcpFlag;

Deno.test("a turn is a record, with what was pipelined in it", () => {
  const bench = new Bench();
  bench.send(Syn, 99);
  bench.send(Ack, 100, "GET /a");
  bench.send(Ack, 106, " and b");
  bench.send(Ack, 112, "", 50);
  bench.send(Ack, 112, "GET /c", 50);
  bench.send(Ack | Fin, 118, "", 70);
  bench.table.finish();
  assert.deepEqual(bench.texts(), ["GET /a and b", "GET /c"]);
  assert.deepEqual(bench.records.map(({ position }) => position), [0, 12]);
  assert.equal(bench.packets.length, 6);
  assert.deepEqual([bench.counters.connections, bench.counters.joined], [1, 0]);
});

Deno.test("order is restored, each byte is there once, whatever the path does", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 1, maxLength: 3000 }),
      fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 30 }),
      fc.array(fc.tuple(fc.nat(3000), fc.integer({ min: 1, max: 700 })), { maxLength: 8 }),
      fc.integer(),
      fc.nat(),
      (data, cuts, again, first, seed) => {
        const bench = new Bench();
        const segments: [number, number][] = [];
        for (let at = 0, i = 0; at < data.length; i++) {
          const length = Math.min(cuts[i % cuts.length], data.length - at);
          segments.push([at, length]);
          at += length;
        }
        // Retransmissions with other boundaries.
        for (const [at, length] of again) {
          if (at < data.length) segments.push([at, Math.min(length, data.length - at)]);
        }
        let state = seed | 1;
        for (let i = segments.length - 1; i > 0; i--) {
          state = Math.imul(state, 1_664_525) + 1_013_904_223 | 0;
          const j = (state >>> 8) % (i + 1);
          [segments[i], segments[j]] = [segments[j], segments[i]];
        }
        bench.send(Syn, first - 1);
        for (const [at, length] of segments) {
          bench.send(Ack, first + at, data.slice(at, at + length));
        }
        bench.table.finish();
        const got = bench.records.flatMap(({ bytes }) => [...bytes]);
        assert.deepEqual(got, [...data]);
        assert.equal(bench.table.waitingBytes, 0);
      },
    ),
    { numRuns: 200 },
  );
});

Deno.test("a connection that was open is dumped from its first data on, with a beginning", () => {
  const bench = new Bench();
  bench.send(Ack, 500);
  bench.send(Ack, 500, "second");
  bench.send(Ack, 490, "retransmit"); // before the window
  bench.send(Ack, 506, " third");
  bench.table.finish();
  assert.deepEqual(bench.texts(), ["second third"]);
  assert.equal(bench.counters.joined, 1);
  const packet = new Packet();
  const syn = bench.packets[0];
  assert.equal(packet.parseIp(syn, new DataView(syn.buffer), 0, syn.length), ParseResult.Tcp);
  assert.deepEqual([packet.flags, packet.sequence], [Syn, 499]);
});

Deno.test("the same client port again is another connection, a SYN sent twice is not", () => {
  const bench = new Bench();
  bench.send(Syn, 99);
  bench.send(Syn, 99);
  bench.send(Ack, 100, "old");
  bench.send(Syn, 7_000);
  bench.send(Ack, 7_001, "new");
  bench.send(Rst, 7_004);
  bench.send(Ack, 7_001, "new"); // late, from the path
  bench.table.finish();
  assert.deepEqual(bench.texts(), ["old", "new"]);
  assert.deepEqual(bench.records.map(({ position }) => position), [0, 0]);
  assert.equal(bench.counters.connections, 2);
});

Deno.test("what stays missing ends a run, and another begins behind it", () => {
  const bench = new Bench();
  bench.send(Syn, 99);
  bench.send(Ack, 100, "here");
  bench.send(Ack, 110, "behind a gap");
  bench.nowMs += 4_000;
  bench.table.expire(bench.nowMs);
  assert.equal(bench.counters.gaps, 0);
  bench.nowMs += 2_000;
  bench.table.expire(bench.nowMs);
  bench.send(Ack, 122, "anew");
  bench.send(Ack, 110, "behind a gap");
  bench.table.finish();
  assert.deepEqual(bench.texts(), ["here", "anew"]);
  assert.deepEqual(bench.records.map(({ position }) => position), [0, 0]);
  assert.equal(bench.counters.gaps, 1);
  assert.equal(bench.table.waitingBytes, 0);
});

Deno.test("what the writer does not take is shed by whole records, and counted", () => {
  const bench = new Bench(1000);
  for (let client = 1; client <= 5; client++) {
    bench.send(Syn, 99, "", 1, client);
    bench.send(Ack, 100, "x".repeat(300), 1, client);
  }
  bench.table.finish();
  const { records, shedRecords, recordBytes, shedBytes, shedPackets } = bench.counters;
  assert.equal(bench.records.length, records);
  assert.equal(records + shedRecords, 5);
  assert.equal(recordBytes + shedBytes, 1500);
  assert.ok(shedRecords > 0 && shedPackets > 0);
  assert.ok(bench.records.every(({ bytes }) => bytes.length === 300));
});

Deno.test("memory has a bound: records are cut, then connections with gaps given up", () => {
  const bench = new Bench(1 << 26, 1 << 20);
  bench.send(Syn, 99);
  for (let i = 0; i < 40; i++) bench.send(Ack, 100 + i * 60_000, new Uint8Array(60_000));
  // Behind a gap nothing can leave.
  for (let client = 1; client < 40; client++) {
    bench.send(Syn, 99, "", 1, client);
    bench.send(Ack, 200, new Uint8Array(60_000), 1, client);
  }
  assert.ok(bench.table.waitingBytes <= 1 << 20);
  bench.table.finish();
  // What lies behind a gap goes first, while the rest of the memory is still free for the others.
  assert.ok(bench.counters.gaps > 0);
  assert.equal(bench.counters.outOfMemory, 0);
  const whole = bench.records.filter(({ client }) => client === 1000);
  assert.equal(whole.reduce((sum, { bytes }) => sum + bytes.length, 0), 40 * 60_000);
});
