import assert from "node:assert/strict";
import fc from "fast-check";
import { BlockPool } from "../../src/session/block_pool.ts";
import { SessionCounters } from "../../src/session/counters.ts";
import { EndpointEvent, EndpointState, TcpEndpoint } from "../../src/session/endpoint.ts";
import { SegmentFlag, SegmentStore } from "../../src/session/segment_store.ts";
import { SegmentWriter } from "../../src/session/segment_writer.ts";
import { TcpOptions } from "../../src/wire/tcp_options.ts";
import {
  brief,
  CLIENT,
  CLIENT_PORT,
  type Fields,
  fromTarget,
  RecordingSink,
  type Sent,
  TARGET,
  TARGET_PORT,
} from "./harness.ts";

/** Initial sequence numbers of both ends; the client's wraps around soon. */
const ISS = -3000;
const IRS = 0x7fffff00;
const MSS = 1000;

class Bench {
  readonly sink = new RecordingSink();
  readonly counters = new SessionCounters();
  readonly store = new SegmentStore(new BlockPool(4 << 20));
  readonly endpoint: TcpEndpoint;
  nowMs = 1000;
  #options = new TcpOptions();

  constructor(
    offers: { sackPermitted?: boolean; timestamps?: boolean; windowScale?: number } = {},
  ) {
    const writer = new SegmentWriter(this.sink, this.store, this.counters, 5_000_000);
    const context = {
      store: this.store,
      writer,
      counters: this.counters,
      mtuBytes: 1500,
      missesPackets: true,
    };
    this.endpoint = new TcpEndpoint(context, {
      mss: 1460,
      windowScale: offers.windowScale ?? 7,
      sackPermitted: offers.sackPermitted ?? true,
      timestamps: offers.timestamps ?? false,
    });
    this.endpoint.localAddress = CLIENT;
    this.endpoint.localPort = CLIENT_PORT;
    this.endpoint.remoteAddress = TARGET;
    this.endpoint.remotePort = TARGET_PORT;
    this.endpoint.stream.startAt(ISS + 1);
  }

  /** Appends bytes and lets them go. */
  write(length: number, push = true): void {
    const { stream } = this.endpoint;
    const bytes = Uint8Array.from({ length }, (_, i) => i);
    const segment = this.store.store(new DataView(bytes.buffer), 0, length, stream.tail);
    this.store.flags[segment] = push ? SegmentFlag.Push : 0;
    stream.push(segment);
    this.endpoint.releaseTo = stream.end;
  }

  /** Sends what is due. */
  output(): Sent[] {
    this.endpoint.output(this.nowMs);
    return this.sink.take();
  }

  /** The target says something; sequence and acknowledgement count from the first bytes. */
  hear(fields: Fields & { at?: number; ack?: number }): void {
    const packet = fromTarget({
      sequence: (IRS + 1 + (fields.at ?? 0)) | 0,
      acknowledgment: (ISS + 1 + (fields.ack ?? 0)) | 0,
      ...fields,
      sack: fields.sack?.map(([left, right]) => [(ISS + 1 + left) | 0, (ISS + 1 + right) | 0]),
    });
    this.#options.parse(packet.view, packet.tcpOffset + 20, packet.tcpHeaderLength - 20);
    this.endpoint.onSegment(packet, this.#options, this.nowMs);
  }

  /** Moves time to the endpoint's deadline. Returns how long that took, and what was sent then. */
  wait(): [number, ...string[]] {
    const { deadlineMs } = this.endpoint;
    assert.ok(deadlineMs < Infinity, "nothing to wait for");
    const waitedMs = deadlineMs - this.nowMs;
    this.nowMs = deadlineMs;
    this.endpoint.onTimer(this.nowMs);
    return [waitedMs, ...brief(this.output(), ISS + 1)];
  }

  /** Opens the connection; the round trip takes 10 ms. */
  open(synAck: Partial<Fields> = {}): Sent[] {
    this.endpoint.open(this.nowMs);
    const [syn] = this.output();
    assert.equal(syn.flags, "S");
    this.nowMs += 10;
    this.hear({
      flags: "SA",
      at: -1,
      mss: MSS,
      windowScale: 0,
      sackPermitted: true,
      window: 65_535,
      ...synAck,
    });
    return this.output();
  }

  /** Sent packets in short. */
  brief(sent = this.output()): string[] {
    return brief(sent, ISS + 1);
  }
}

Deno.test("the hand-shake carries the client's options and ends with an ACK", () => {
  const bench = new Bench({ timestamps: true });
  bench.endpoint.open(bench.nowMs);
  const [syn] = bench.output();
  assert.equal(syn.sequence, ISS);
  assert.equal(syn.options.mss, 1460);
  assert.equal(syn.options.windowScale, 7);
  assert.equal(syn.options.sackPermitted, true);
  assert.equal(syn.options.tsval, 5_001_000);
  bench.hear({ flags: "SA", at: -1, mss: MSS, timestamps: { value: 77, echo: 5_001_000 } });
  assert.equal(bench.endpoint.events & EndpointEvent.Established, EndpointEvent.Established);
  const [ack, ...more] = bench.output();
  assert.deepEqual([ack.flags, ack.sequence, ack.acknowledgment], ["A", ISS + 1, IRS + 1]);
  assert.deepEqual([ack.options.hasTimestamps, ack.options.tsecr], [true, 77]);
  assert.equal(more.length, 0);
  assert.equal(bench.endpoint.deadlineMs, Infinity);
});

Deno.test("a request that is ready takes the hand-shake's ACK along", () => {
  const bench = new Bench();
  bench.endpoint.open(0);
  bench.output();
  bench.write(5);
  bench.hear({ flags: "SA", at: -1, mss: MSS });
  assert.deepEqual(bench.brief(), ["PA 0+5"]);
  assert.equal(bench.endpoint.deadlineMs - bench.nowMs < 1000, true);
});

Deno.test("a SYN is sent again after 1, 2, 4 seconds", () => {
  const bench = new Bench();
  bench.endpoint.open(bench.nowMs);
  bench.output();
  assert.deepEqual(bench.wait(), [1000, "S -1+0"]);
  assert.deepEqual(bench.wait(), [2000, "S -1+0"]);
  assert.deepEqual(bench.wait(), [4000, "S -1+0"]);
});

Deno.test("RST to the SYN means refused; one for something else does not", () => {
  const bench = new Bench();
  bench.endpoint.open(bench.nowMs);
  bench.output();
  bench.hear({ flags: "RA", ack: 5 });
  assert.equal(bench.endpoint.state, EndpointState.SynSent);
  bench.hear({ flags: "RA", ack: 0 });
  assert.equal(bench.endpoint.events, EndpointEvent.Refused);
  assert.equal(bench.endpoint.state, EndpointState.Closed);
});

Deno.test("a target that holds an older connection is made to forget it", () => {
  const bench = new Bench();
  bench.endpoint.open(bench.nowMs);
  bench.output();
  for (let i = 0; i < 3; i++) {
    bench.hear({ flags: "A", ack: -777_777 });
    assert.deepEqual(bench.brief(), ["R -777777+0", "S -1+0"]);
  }
  bench.hear({ flags: "A", ack: -777_777 });
  assert.deepEqual(bench.brief(), ["R -777777+0"]); // no more SYNs than that at once
});

Deno.test("the first flight has ten segments, and acknowledgements open the window", () => {
  const bench = new Bench();
  bench.open();
  for (let i = 0; i < 60; i++) bench.write(MSS, i % 5 === 4);
  const first = bench.brief();
  assert.equal(first.length, 10);
  assert.deepEqual([first[0], first[4], first[9]], ["A 0+1000", "PA 4000+1000", "PA 9000+1000"]);
  assert.deepEqual(bench.brief(), []);
  bench.nowMs += 10;
  bench.hear({ flags: "A", ack: 2000, window: 65_535 });
  assert.equal(bench.output().length, 4);
  assert.equal(bench.counters.retransmits, 0);
});

Deno.test("stored segments longer than the target's MSS are cut, the push goes with the end", () => {
  const bench = new Bench();
  bench.open({ mss: 600 });
  bench.write(1448);
  assert.deepEqual(bench.brief(), ["A 0+600", "A 600+600", "PA 1200+248"]);
});

Deno.test("nothing is sent beyond the target's window", () => {
  const bench = new Bench();
  bench.open({ window: 2500 });
  for (let i = 0; i < 5; i++) bench.write(MSS);
  assert.deepEqual(bench.brief(), ["PA 0+1000", "PA 1000+1000"]);
  bench.hear({ flags: "A", ack: 2000, window: 700 });
  assert.deepEqual(bench.brief(), ["A 2000+700"]);
  bench.hear({ flags: "A", ack: 2700, window: 0 });
  assert.deepEqual(bench.brief(), []);
});

Deno.test("an answer sent again tells the window, too, when it acknowledges something new", () => {
  const bench = new Bench();
  bench.open({ window: 3000 });
  bench.write(MSS);
  bench.write(MSS);
  bench.output();
  bench.hear({ flags: "A", at: 1000, absentPayloadBytes: 1000, window: 3000 });
  bench.hear({ flags: "A", at: 0, ack: 2000, absentPayloadBytes: 1000, window: 500 });
  bench.write(MSS);
  assert.deepEqual(bench.brief(), ["A 2000+500"]);
});

Deno.test("a closed window is probed, ever more rarely, until it opens", () => {
  const bench = new Bench();
  bench.open();
  bench.write(500);
  bench.output();
  bench.hear({ flags: "A", ack: 500, window: 0 });
  bench.write(500);
  assert.deepEqual(bench.brief(), []);
  const waits: number[] = [];
  for (let i = 0; i < 8; i++) {
    const [waitedMs, probe] = bench.wait();
    assert.equal(probe, "A 499+0"); // an old sequence number, no payload
    waits.push(waitedMs);
    bench.hear({ flags: "A", ack: 500, window: 0 });
    bench.output();
  }
  assert.deepEqual(waits, [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
  bench.hear({ flags: "A", ack: 500, window: 5000 });
  assert.deepEqual(bench.brief(), ["PA 500+500"]);
});

Deno.test("a single answer segment is acknowledged late, two full ones at once", () => {
  const bench = new Bench();
  bench.open();
  bench.hear({ flags: "PA", absentPayloadBytes: 100 });
  assert.deepEqual(bench.brief(), []);
  assert.deepEqual(bench.wait(), [40, "A 0+0"]);
  bench.hear({ flags: "A", at: 100, absentPayloadBytes: MSS });
  assert.deepEqual(bench.brief(), []);
  bench.hear({ flags: "A", at: 1100, absentPayloadBytes: MSS });
  const [ack] = bench.output();
  assert.equal(ack.acknowledgment, (IRS + 1 + 2100) | 0);
  bench.endpoint.quickAck = true;
  bench.hear({ flags: "PA", at: 2100, absentPayloadBytes: 10 });
  assert.deepEqual(bench.brief(), ["A 0+0"]);
  assert.equal(bench.endpoint.deadlineMs, Infinity);
});

Deno.test("what arrives out of order is acknowledged at once and reported, newest first", () => {
  const bench = new Bench();
  bench.open();
  const blocks = (): number[][] => {
    const [{ options, acknowledgment }] = bench.output();
    const at = (sequence: number): number => (sequence - IRS - 1) | 0;
    const found = [[at(acknowledgment)]];
    for (let i = 0; i < options.sackCount; i++) {
      found.push([at(options.sackLeft[i]), at(options.sackRight[i])]);
    }
    return found;
  };
  bench.hear({ flags: "A", at: 1000, absentPayloadBytes: 1000 });
  assert.deepEqual(blocks(), [[0], [1000, 2000]]);
  bench.hear({ flags: "A", at: 5000, absentPayloadBytes: 1000 });
  assert.deepEqual(blocks(), [[0], [5000, 6000], [1000, 2000]]);
  bench.hear({ flags: "A", at: 3000, absentPayloadBytes: 1000 });
  assert.deepEqual(blocks(), [[0], [3000, 4000], [1000, 2000], [5000, 6000]]);
  assert.equal(bench.endpoint.answerHasHole, true);
  bench.hear({ flags: "A", at: 0, absentPayloadBytes: 1000 });
  assert.deepEqual(blocks()[0], [2000]);
  bench.hear({ flags: "A", at: 2000, absentPayloadBytes: 1000 });
  bench.hear({ flags: "A", at: 4000, absentPayloadBytes: 1000 });
  assert.deepEqual(blocks(), [[6000]]);
  assert.equal(bench.endpoint.answerHasHole, false);
});

Deno.test("without SACK agreed on there are no blocks", () => {
  const bench = new Bench();
  bench.open({ sackPermitted: false });
  bench.hear({ flags: "A", at: 1000, absentPayloadBytes: 1000 });
  assert.equal(bench.output()[0].options.sackCount, 0);
});

Deno.test("whether the answer ends with a push is known also when a hole is filled last", () => {
  const bench = new Bench();
  bench.open();
  bench.hear({ flags: "PA", at: 1000, absentPayloadBytes: 500 });
  assert.equal(bench.endpoint.answerPushed, false);
  bench.hear({ flags: "A", at: 0, absentPayloadBytes: 1000 });
  assert.equal(bench.endpoint.answerPushed, true);
  bench.hear({ flags: "A", at: 1500, absentPayloadBytes: 1000 });
  assert.equal(bench.endpoint.answerPushed, false);
});

Deno.test("a repeated answer is acknowledged again, also while the FIN waits for a hole", () => {
  const bench = new Bench();
  bench.open();
  bench.hear({ flags: "PA", absentPayloadBytes: 100 });
  bench.wait();
  bench.hear({ flags: "PA", absentPayloadBytes: 100 });
  assert.deepEqual(bench.brief(), ["A 0+0"]);
  bench.hear({ flags: "FA", at: 200 });
  assert.deepEqual(bench.brief(), ["A 0+0"]);
  bench.hear({ flags: "PA", absentPayloadBytes: 100 });
  assert.deepEqual(bench.brief(), ["A 0+0"]);
  assert.equal(bench.endpoint.peerFin, false);
  bench.hear({ flags: "PA", at: 100, absentPayloadBytes: 100 });
  assert.equal(bench.endpoint.peerFin, true);
  assert.equal(bench.output()[0].acknowledgment, (IRS + 1 + 201) | 0);
});

Deno.test("a SYN-ACK that comes again is acknowledged again, a keep-alive too", () => {
  const bench = new Bench();
  bench.open();
  bench.hear({ flags: "SA", at: -1 });
  assert.deepEqual(bench.brief(), ["A 0+0"]);
  bench.hear({ flags: "A", at: -1 });
  assert.deepEqual(bench.brief(), ["A 0+0"]);
});

Deno.test("three duplicate acknowledgements bring the missing segment, and nothing else", () => {
  const bench = new Bench();
  bench.open({ sackPermitted: false });
  for (let i = 0; i < 8; i++) bench.write(MSS);
  bench.output();
  for (let i = 0; i < 2; i++) {
    bench.hear({ flags: "A", ack: 0, window: 65_535 });
    assert.deepEqual(bench.brief(), []);
  }
  bench.hear({ flags: "A", ack: 0, window: 65_535 });
  assert.deepEqual(bench.brief(), ["PA 0+1000"]);
  for (let i = 0; i < 4; i++) bench.hear({ flags: "A", ack: 0, window: 65_535 });
  assert.deepEqual(bench.brief(), []);
  // A partial acknowledgement: the next hole is lost too.
  bench.hear({ flags: "A", ack: 3000, window: 65_535 });
  assert.deepEqual(bench.brief(), ["PA 3000+1000"]);
  bench.hear({ flags: "A", ack: 8000, window: 65_535 });
  assert.deepEqual(bench.brief(), []);
  assert.equal(bench.counters.retransmits, 2);
  assert.equal(bench.counters.timeouts, 0);
  assert.equal(bench.endpoint.deadlineMs, Infinity);
});

Deno.test("of a segment that the window had cut only the part that was sent is sent again", () => {
  const bench = new Bench();
  bench.open({ window: 600, sackPermitted: false });
  bench.write(MSS);
  assert.deepEqual(bench.brief(), ["A 0+600"]);
  for (let i = 0; i < 3; i++) bench.hear({ flags: "A", window: 600 });
  assert.deepEqual(bench.brief(), ["A 0+600"]);
});

Deno.test("a window update, an answer or a FIN is no duplicate acknowledgement", () => {
  const bench = new Bench();
  bench.open();
  for (let i = 0; i < 8; i++) bench.write(MSS);
  bench.output();
  for (let i = 0; i < 5; i++) bench.hear({ flags: "A", ack: 0, window: 60_000 + i });
  for (let i = 0; i < 5; i++) {
    bench.hear({ flags: "A", at: i * 10, absentPayloadBytes: 10, window: 60_004 });
  }
  for (let i = 0; i < 5; i++) bench.hear({ flags: "FA", at: 50, window: 60_004 });
  bench.output();
  assert.equal(bench.counters.retransmits, 0);
});

Deno.test("SACK blocks tell the holes: each is filled once", () => {
  const bench = new Bench();
  bench.open();
  for (let i = 0; i < 10; i++) bench.write(MSS);
  bench.output();
  const window = 65_535;
  bench.hear({ flags: "A", ack: 1000, window, sack: [[2000, 3000]] });
  bench.hear({ flags: "A", ack: 1000, window, sack: [[2000, 4000]] });
  assert.deepEqual(bench.brief(), []);
  bench.hear({ flags: "A", ack: 1000, window, sack: [[6000, 7000], [2000, 4000]] });
  assert.deepEqual(bench.brief(), ["PA 1000+1000"]);
  bench.hear({ flags: "A", ack: 1000, window, sack: [[6000, 8000], [2000, 4000]] });
  assert.deepEqual(bench.brief(), ["PA 4000+1000"]);
  bench.hear({ flags: "A", ack: 1000, window, sack: [[6000, 10_000], [2000, 4000]] });
  assert.deepEqual(bench.brief(), ["PA 5000+1000"]);
  bench.hear({ flags: "A", ack: 1000, window, sack: [[6000, 10_000], [2000, 4000]] });
  assert.deepEqual(bench.brief(), []);
  bench.hear({ flags: "A", ack: 10_000, window });
  assert.equal(bench.counters.retransmits, 3);
  assert.equal(bench.store.used, 0);
});

Deno.test("a time-out sends one segment, then goes on behind what was reported", () => {
  const bench = new Bench();
  bench.open();
  for (let i = 0; i < 6; i++) bench.write(MSS);
  bench.output();
  bench.hear({ flags: "A", ack: 0, window: 65_535, sack: [[2000, 4000]] });
  assert.deepEqual(bench.brief(), []);
  let waitedMs = 0;
  while (bench.counters.timeouts === 0) {
    const [tookMs, ...sent] = bench.wait();
    waitedMs += tookMs;
    // First the tail is probed, then the first segment is taken for lost.
    assert.deepEqual(sent, [bench.counters.timeouts === 0 ? "PA 5000+1000" : "PA 0+1000"]);
  }
  assert.ok(waitedMs >= 200 && waitedMs < 300, `${waitedMs}`);
  bench.hear({ flags: "A", ack: 1000, window: 65_535, sack: [[2000, 4000]] });
  assert.deepEqual(bench.brief(), ["PA 1000+1000"]);
  bench.hear({ flags: "A", ack: 4000, window: 65_535 });
  assert.deepEqual(bench.brief(), ["PA 4000+1000", "PA 5000+1000"]);
});

Deno.test("time-outs double up to a minute", () => {
  const bench = new Bench();
  bench.open();
  bench.write(10);
  bench.output();
  assert.deepEqual(bench.wait().slice(1), ["PA 0+10"]); // the probe of the tail
  const waits: number[] = [];
  for (let i = 0; i < 11; i++) {
    const [waitedMs, ...sent] = bench.wait();
    assert.deepEqual(sent, ["PA 0+10"]);
    waits.push(waitedMs);
  }
  assert.deepEqual(waits.slice(0, 4), [200, 400, 800, 1600]);
  assert.deepEqual(waits.slice(-2), [60_000, 60_000]);
});

Deno.test("the tail is probed once, before the time-out", () => {
  const bench = new Bench();
  bench.open();
  bench.write(MSS);
  bench.write(MSS);
  bench.write(300);
  bench.output();
  const [waitedMs, ...probe] = bench.wait();
  assert.ok(waitedMs < 100);
  assert.deepEqual(probe, ["PA 2000+300"]);
  assert.equal(bench.counters.timeouts, 0);
  // The report shows that only the tail had arrived: the rest follows without a time-out.
  bench.hear({ flags: "A", ack: 0, window: 65_535, sack: [[2000, 2300]] });
  assert.deepEqual(bench.brief(), ["PA 0+1000"]);
  bench.hear({ flags: "A", ack: 1000, window: 65_535, sack: [[2000, 2300]] });
  assert.deepEqual(bench.brief(), ["PA 1000+1000"]);
  assert.equal(bench.counters.timeouts, 0);
});

/** Opens, sends one segment and has it acknowledged: what is sent now is timed anew. */
function timed(bench: Bench): void {
  bench.open();
  bench.write(10);
  bench.output();
  bench.nowMs += 10;
  bench.hear({ flags: "A", ack: 10 });
  assert.equal(bench.endpoint.roundTripMs, 10);
}

Deno.test("without time stamps what was sent again is not timed: probe, fast retransmit, SYN", () => {
  const probed = new Bench();
  timed(probed);
  probed.write(10);
  probed.output();
  assert.deepEqual(probed.wait().slice(1), ["PA 10+10"]);
  probed.nowMs += 1;
  probed.hear({ flags: "A", ack: 20 });
  assert.equal(probed.endpoint.roundTripMs, 10);

  const repaired = new Bench();
  timed(repaired);
  for (let i = 0; i < 5; i++) repaired.write(MSS);
  repaired.output();
  repaired.nowMs += 150;
  repaired.hear({ flags: "A", ack: 10, sack: [[10 + MSS, 10 + 5 * MSS]] });
  assert.deepEqual(repaired.brief(), ["PA 10+1000"]);
  repaired.nowMs += 10;
  repaired.hear({ flags: "A", ack: 10 + 5 * MSS });
  assert.equal(repaired.endpoint.roundTripMs, 10);

  const challenged = new Bench();
  challenged.endpoint.open(challenged.nowMs);
  challenged.output();
  challenged.nowMs += 700;
  challenged.hear({ flags: "A", ack: 12_345 });
  assert.deepEqual(challenged.brief().at(-1), "S -1+0");
  challenged.nowMs += 10;
  challenged.hear({ flags: "SA", at: -1 });
  assert.equal(challenged.endpoint.state, EndpointState.Established);
  assert.equal(challenged.endpoint.roundTripMs, -1);
});

Deno.test("with time stamps what was sent again is timed by what is echoed", () => {
  const bench = new Bench({ timestamps: true });
  bench.open({ timestamps: { value: 7, echo: 5_001_000 } });
  bench.write(10);
  bench.output();
  bench.wait();
  const sentAtMs = bench.nowMs;
  bench.nowMs += 90;
  bench.hear({ flags: "A", ack: 10, timestamps: { value: 8, echo: 5_000_000 + sentAtMs } });
  assert.ok(bench.endpoint.roundTripMs > 10);
});

Deno.test("a backed-off time-out stays until something that went once is acknowledged", () => {
  const bench = new Bench();
  timed(bench);
  bench.write(10);
  bench.output();
  bench.wait(); // the probe
  bench.wait();
  bench.wait();
  // The round trip may have become as long as that: with the old time-out all would go twice.
  bench.hear({ flags: "A", ack: 20 });
  const timeoutOf = () => {
    bench.write(10);
    bench.output();
    bench.wait();
    const [waitedMs] = bench.wait();
    return waitedMs;
  };
  const backedOffMs = timeoutOf();
  assert.ok(backedOffMs >= 800, `${backedOffMs} ms`);
  bench.hear({ flags: "A", ack: 30 });
  bench.write(10);
  bench.output();
  bench.nowMs += 10;
  bench.hear({ flags: "A", ack: 40 });
  const afterMs = timeoutOf();
  assert.ok(afterMs <= 200, `${afterMs} ms`);
});

Deno.test("slow start counts two segments of an acknowledgement, one after a time-out", () => {
  const bench = new Bench();
  bench.open();
  for (let i = 0; i < 60; i++) bench.write(MSS);
  assert.equal(bench.output().length, 10);
  bench.hear({ flags: "A", ack: 10 * MSS, window: 65_535 });
  assert.equal(bench.output().length, 12);
  bench.hear({ flags: "A", ack: 11 * MSS, window: 65_535 });
  assert.equal(bench.output().length, 2);
  bench.wait(); // the probe
  assert.deepEqual(bench.wait().length, 2);
  // Only the first was lost: its acknowledgement covers all that had arrived before.
  bench.hear({ flags: "A", ack: 24 * MSS, window: 65_535 });
  assert.equal(bench.output().length, 2);
});

Deno.test("in congestion avoidance a window's worth of bytes opens it by a segment", () => {
  const bench = new Bench();
  bench.open();
  for (let i = 0; i < 60; i++) bench.write(MSS);
  bench.output();
  bench.hear({ flags: "A", ack: 0, window: 65_535, sack: [[MSS, 10 * MSS]] });
  bench.output();
  bench.hear({ flags: "A", ack: 10 * MSS, window: 65_535 });
  assert.equal(bench.output().length, 1); // with four on their way: half of what was in flight
  let sent = 0;
  for (let ack = 11; ack <= 14; ack++) {
    bench.hear({ flags: "A", ack: ack * MSS, window: 65_535 });
    sent += bench.output().length;
  }
  assert.equal(sent, 4);
  bench.hear({ flags: "A", ack: 15 * MSS, window: 65_535 });
  assert.equal(bench.output().length, 2);
});

Deno.test("what is sent again is counted: SYN, payload and FIN", () => {
  const bench = new Bench();
  bench.endpoint.open(bench.nowMs);
  bench.output();
  bench.wait();
  assert.equal(bench.counters.retransmits, 1);
  bench.hear({ flags: "SA", at: -1, mss: MSS });
  bench.write(10);
  bench.endpoint.finReleased = true;
  bench.output();
  assert.equal(bench.counters.retransmits, 1);
  assert.deepEqual(bench.wait().slice(1), ["FA 10+0"]);
  assert.equal(bench.counters.retransmits, 2);
  assert.deepEqual(bench.wait().slice(1), ["PA 0+10", "FA 10+0"]);
  assert.equal(bench.counters.retransmits, 4);
});

Deno.test("what was reported in an earlier flight does not count in a later one", () => {
  const bench = new Bench();
  bench.open();
  for (let i = 0; i < 6; i++) bench.write(MSS);
  bench.output();
  bench.hear({ flags: "A", ack: 0, window: 65_535, sack: [[1000, 6000]] });
  assert.deepEqual(bench.brief(), ["PA 0+1000"]);
  bench.hear({ flags: "A", ack: 6000, window: 65_535 });
  for (let i = 0; i < 20; i++) bench.write(MSS);
  assert.equal(bench.output().length, 3); // half of what was in flight when it was lost
  bench.hear({ flags: "A", ack: 6000, window: 65_535 });
  assert.deepEqual(bench.brief(), []); // one duplicate acknowledgement alone
});

Deno.test("every flight's tail is probed", () => {
  const bench = new Bench();
  bench.open();
  for (let flight = 0; flight < 3; flight++) {
    bench.write(MSS);
    bench.output();
    assert.deepEqual(bench.wait().slice(1), [`PA ${flight * MSS}+1000`]);
    bench.hear({ flags: "A", ack: (flight + 1) * MSS, window: 65_535 });
  }
  assert.equal(bench.counters.timeouts, 0);
});

Deno.test("the FIN follows the last byte, is repeated, and is known to be acknowledged", () => {
  const bench = new Bench();
  bench.open();
  bench.write(10);
  bench.endpoint.finReleased = true;
  assert.deepEqual(bench.brief(), ["PA 0+10", "FA 10+0"]);
  assert.equal(bench.endpoint.finSent, true);
  bench.hear({ flags: "A", ack: 10 });
  assert.equal(bench.endpoint.finAcknowledged, false);
  assert.deepEqual(bench.wait().slice(1), ["FA 10+0"]); // the probe
  assert.deepEqual(bench.wait().slice(1), ["FA 10+0"]);
  bench.hear({ flags: "A", ack: 11 });
  assert.equal(bench.endpoint.finAcknowledged, true);
  assert.deepEqual(bench.brief(), []);
  assert.equal(bench.endpoint.deadlineMs, Infinity);
});

Deno.test("a FIN without bytes before it goes out alone", () => {
  const bench = new Bench();
  bench.open();
  bench.endpoint.finReleased = true;
  assert.deepEqual(bench.brief(), ["FA 0+0"]);
  bench.hear({ flags: "FA", ack: 1 });
  assert.equal(bench.endpoint.finAcknowledged && bench.endpoint.peerFin, true);
  assert.deepEqual(bench.brief(), ["A 1+0"]);
});

Deno.test("only a reset with the exact number counts; others are asked about, not too often", () => {
  const bench = new Bench();
  bench.open();
  for (const at of [-5000, -1, 1, 500, 60_000, 0x7000_0000]) {
    bench.hear({ flags: "R", at });
    assert.equal(bench.endpoint.state, EndpointState.Established);
  }
  assert.deepEqual(bench.brief(), ["A 0+0"]);
  bench.hear({ flags: "S", at: 77 });
  assert.deepEqual(bench.brief(), []);
  bench.nowMs += 100;
  bench.hear({ flags: "S", at: 77 });
  assert.deepEqual(bench.brief(), ["A 0+0"]);
  assert.equal(bench.counters.challenges, 8);
  bench.hear({ flags: "R", at: 0 });
  assert.equal(bench.endpoint.state, EndpointState.Closed);
  assert.equal(bench.endpoint.events & EndpointEvent.Reset, EndpointEvent.Reset);
});

Deno.test("an acknowledgement of what was not sent is answered and not believed", () => {
  const bench = new Bench();
  bench.open();
  bench.write(10);
  bench.output();
  bench.hear({ flags: "A", ack: 11 });
  assert.deepEqual(bench.brief(), ["A 10+0"]);
  assert.equal(bench.endpoint.sndUna, ISS + 1);
});

Deno.test("the echoed timestamp is that of the segment that advanced the window", () => {
  const bench = new Bench({ timestamps: true });
  bench.open({ timestamps: { value: 100, echo: 5_001_000 } });
  const stamp = (value: number) => ({ value, echo: 5_001_000 });
  bench.hear({ flags: "A", at: 1000, absentPayloadBytes: 988, timestamps: stamp(120) });
  assert.equal(bench.output()[0].options.tsecr, 100); // behind a hole
  bench.hear({ flags: "A", at: 0, absentPayloadBytes: 1000, timestamps: stamp(110) });
  assert.equal(bench.output()[0].options.tsecr, 110);
});

Deno.test("payload plus options stay within the target's MSS", () => {
  const bench = new Bench({ timestamps: true });
  bench.open({ timestamps: { value: 100, echo: 5_001_000 } });
  bench.write(1448);
  assert.deepEqual(bench.brief(), ["A 0+988", "PA 988+460"]);
});

Deno.test("a fresh connection knows nothing of the old one", () => {
  const bench = new Bench();
  bench.open();
  bench.write(3000, false);
  bench.output();
  bench.hear({ flags: "A", at: 5000, absentPayloadBytes: 100, sack: [[1000, 2000]] });
  bench.hear({ flags: "R", at: 0 });
  bench.endpoint.stream.startAt(ISS + 1);
  bench.open();
  assert.equal(bench.endpoint.answerHasHole, false);
  bench.endpoint.releaseTo = bench.endpoint.stream.end;
  assert.deepEqual(bench.brief(), ["A 0+1000", "A 1000+1000", "A 2000+1000"]);
  bench.hear({ flags: "A", absentPayloadBytes: 10 });
  bench.endpoint.quickAck = true;
  assert.equal(bench.output()[0].options.sackCount, 0);
});

Deno.test("packets for which there was no room are sent again", () => {
  const bench = new Bench();
  bench.open();
  bench.write(10);
  bench.sink.isFull = true;
  bench.output();
  assert.equal(bench.counters.unsentPackets, 1);
  bench.sink.isFull = false;
  assert.deepEqual(bench.wait().slice(1), ["PA 0+10"]);
});

Deno.test("abort resets, abandon closes; before anything was sent nothing is", () => {
  const bench = new Bench();
  bench.endpoint.open(bench.nowMs);
  bench.endpoint.abort(bench.nowMs);
  assert.deepEqual(bench.brief(bench.sink.take()), []);
  bench.open();
  bench.write(10);
  bench.output();
  bench.endpoint.abort(bench.nowMs);
  assert.deepEqual(bench.brief(bench.sink.take()), ["RA 10+0"]);
  assert.equal(bench.endpoint.deadlineMs, Infinity);
});

/** Whatever a target sends, the endpoint keeps its books in order. */
Deno.test("no target, however strange, confuses the endpoint", () => {
  const near = fc.integer({ min: -3000, max: 9000 });
  const action = fc.record({
    kind: fc.constantFrom("hear", "hear", "hear", "write", "wait", "fin"),
    flags: fc.constantFrom("A", "PA", "FA", "A", "R", "SA", "S", "F", ""),
    at: near,
    ack: near,
    window: fc.constantFrom(0, 1, 700, 65_535),
    absentPayloadBytes: fc.constantFrom(0, 0, 1, 999, 20_000),
    sack: fc.array(fc.tuple(near, near), { maxLength: 3 }),
    length: fc.integer({ min: 1, max: 1448 }),
  });
  fc.assert(
    fc.property(fc.array(action, { maxLength: 60 }), fc.boolean(), (actions, timestamps) => {
      const bench = new Bench({ timestamps });
      const { endpoint } = bench;
      bench.open();
      let written = 0;
      for (const { kind, length, ...fields } of actions) {
        if (endpoint.state !== EndpointState.Established) break;
        if (kind === "write" && !endpoint.finReleased) {
          bench.write(length);
          written += length;
        } else if (kind === "fin") endpoint.finReleased = true;
        else if (kind === "wait" && endpoint.deadlineMs < Infinity) bench.wait();
        else bench.hear(fields);
        const sent = bench.output();
        assert.ok(sent.length < 200);
        assert.ok((endpoint.sndNxt - endpoint.sndUna) >= 0);
        assert.ok(((endpoint.sndMax - endpoint.sndNxt) | 0) >= 0);
        assert.ok(((endpoint.sndMax - ISS - 1) | 0) <= written + 1);
        if (endpoint.state === EndpointState.Established) {
          assert.ok(((endpoint.stream.start - endpoint.sndUna) | 0) <= 0 || !endpoint.stream.bytes);
          const isOwed = endpoint.sndUna !== endpoint.sndMax ||
            ((endpoint.releaseTo - endpoint.sndNxt) | 0) > 0;
          assert.ok(!isOwed || endpoint.deadlineMs < Infinity, "bytes wait without a timer");
        }
      }
      endpoint.stream.clear();
      assert.equal(bench.store.used, 0);
    }),
    { numRuns: 1000 },
  );
});
