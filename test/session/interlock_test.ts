/** The interlock between a session table and a target whose answers take different ways. */

import assert from "node:assert/strict";
import { TimerWheel } from "../../src/loop/timer_wheel.ts";
import { DEFAULT_SESSION_CONFIG, type SessionConfig } from "../../src/session/config.ts";
import { Gate } from "../../src/session/gate.ts";
import { Interlock, type InterlockRules, StopCause } from "../../src/session/interlock.ts";
import { ProbeResult } from "../../src/session/probe.ts";
import { SegmentWriter } from "../../src/session/segment_writer.ts";
import { SessionTable } from "../../src/session/session_table.ts";
import { formatIpv4 } from "../../src/wire/ipv4.ts";
import type { PacketSink } from "../../src/session/sink.ts";
import { TransferMap } from "../../src/session/transfer.ts";
import { formatTcpFlags } from "../../src/wire/tcp_flags.ts";
import type { Packet } from "../../src/wire/packet.ts";
import { CLIENT, flagsOf, fromClient, fromTarget, parse, TARGET, TARGET_PORT } from "./harness.ts";

const STEP_MS = 10;
const SERVICE = 80;
const PROBE_HEADER_BYTES = 24;

/** What becomes of the target's answers. */
type Answers =
  | "by intercept"
  | "to clients" // who reset what they do not know
  | "to both"
  | "to both, but for probes"
  | "nowhere"
  | "refused"
  | "from intercept once";

/** A kernel with a service, of which only what matters here is real. */
class FakeTarget {
  answers: Answers = "by intercept";
  /** Connections by source port: the next sequence number expected. */
  readonly connections = new Map<number, number>();
  readonly probes = new Set<number>();
  /** Clients that get its answers themselves. */
  readonly leftOut = new Set<number>();
  /** Packets that came, as flags. */
  received: string[] = [];
  /** Packets that real clients got. */
  leaked = 0;
  #synAcks = 0;

  constructor(readonly port: number) {}

  /** Returns what comes by way of intercept. */
  receive(packet: Packet): Packet[] {
    const { sourcePort, flags, sequence, payloadLength } = packet;
    this.received.push(formatTcpFlags(flags));
    if (this.answers === "nowhere") return [];
    const reply = (letters: string, fields: { sequence: number; acknowledgment?: number }) =>
      this.#send(packet, letters, fields);
    if (flags & flagsOf("R")) {
      this.connections.delete(sourcePort);
      return [];
    }
    if (flags & flagsOf("S")) {
      // Those of clients have an option more.
      if (packet.tcpHeaderLength === PROBE_HEADER_BYTES) this.probes.add(sourcePort);
      const acknowledgment = (sequence + 1) | 0;
      if (this.answers === "refused") return reply("RA", { sequence: 0, acknowledgment });
      this.connections.set(sourcePort, acknowledgment);
      this.#synAcks++;
      return reply("SA", { sequence: 5000, acknowledgment });
    }
    const expected = this.connections.get(sourcePort);
    if (expected === undefined) return reply("R", { sequence: packet.acknowledgment });
    if (payloadLength === 0 && sequence === expected) return [];
    const end = (sequence + payloadLength) | 0;
    const acknowledgment = sequence === expected ? end : expected;
    this.connections.set(sourcePort, acknowledgment);
    return reply("A", { sequence: 5001, acknowledgment });
  }

  #send(
    packet: Packet,
    flags: string,
    fields: { sequence: number; acknowledgment?: number },
  ): Packet[] {
    const isReset = flags.startsWith("R");
    const { answers } = this;
    const isSpared = answers === "to both, but for probes" && this.probes.has(packet.sourcePort);
    if (answers.startsWith("to ") && !isSpared) {
      this.leaked++;
      if (!isReset) this.connections.delete(packet.sourcePort);
      if (answers === "to clients") return [];
    }
    if (this.leftOut.has(packet.sourceAddress)) {
      this.leaked++;
      this.connections.delete(packet.sourcePort);
      return [];
    }
    if (answers === "from intercept once" && (flags !== "SA" || this.#synAcks > 1)) return [];
    return [fromTarget({
      ...fields,
      flags,
      sourcePort: this.port,
      destination: packet.sourceAddress,
      destinationPort: packet.sourcePort,
    })];
  }
}

class Bench implements PacketSink {
  readonly bytes = new Uint8Array(4096);
  readonly view = new DataView(this.bytes.buffer);
  readonly targets = [new FakeTarget(TARGET_PORT), new FakeTarget(TARGET_PORT + 1)];
  readonly target = this.targets[0];
  readonly table: SessionTable;
  readonly interlock: Interlock;
  readonly events: string[] = [];
  readonly announced = new Set<string>();
  readonly #wheel = new TimerWheel(0);
  nowMs = 0;
  #way: Packet[] = [];
  #next = 20_000;

  constructor(
    options: { config?: Partial<SessionConfig>; rules?: Partial<InterlockRules>; pairs?: number } =
      {},
  ) {
    const pairs = this.targets.slice(0, options.pairs ?? 1);
    const transfers = new TransferMap(pairs.map(({ port }, index) => ({
      onlineAddress: undefined,
      onlinePort: SERVICE + index,
      targetAddress: TARGET,
      targetPort: port,
    })));
    const gate = new Gate(this, transfers);
    const key = (...route: number[]) => route.join();
    this.table = new SessionTable(
      { ...DEFAULT_SESSION_CONFIG, ...options.config },
      transfers,
      gate,
      this.#wheel,
      {
        announce: (...route) => this.announced.add(key(...route)),
        forget: (...route) => this.announced.delete(key(...route)),
      },
    );
    gate.counters = this.table.counters;
    const { store, counters } = this.table.context;
    const never = { first: Infinity, later: Infinity };
    this.interlock = new Interlock(
      { probesFirst: true, maxFailures: never, ...options.rules },
      gate,
      transfers,
      this.table,
      new SegmentWriter(this, store, counters, 0),
      {
        onStop: (target, cause) => this.events.push(`stop ${target} ${nameOf(StopCause, cause)}`),
        onProbing: (target) => this.events.push(`probe ${target}`),
        onFailedProbe: (target, result, _, nextInMs) =>
          this.events.push(`failed ${target} ${nameOf(ProbeResult, result)} ${nextInMs}`),
        onGo: (target) => this.events.push(`go ${target}`),
        onSilentNetwork: (target, address) =>
          this.events.push(`left out ${target} ${formatIpv4(address)}`),
      },
    );
    this.interlock.setWayBack(true, 0);
  }

  reserve(): number {
    return 64;
  }

  commit(lengthBytes: number): void {
    const packet = parse(this.bytes.slice(64, 64 + lengthBytes));
    const target = this.targets[packet.destinationPort - TARGET_PORT];
    this.#way.push(...target.receive(packet));
  }

  /** A client opens a connection and asks something; returns its port. */
  connect(pair = 0, source = CLIENT): number {
    const port = this.#next++;
    this.client(port, { source, flags: "S", sequence: 99, sackPermitted: true }, pair);
    this.client(port, { source, flags: "A", sequence: 100, acknowledgment: 1 }, pair);
    this.ask(port, 100, pair, source);
    return port;
  }

  ask(port: number, sequence: number, pair = 0, source = CLIENT): void {
    const payload = new Uint8Array(10);
    this.client(port, { source, flags: "PA", sequence, acknowledgment: 1, payload }, pair);
  }

  client(port: number, fields: Parameters<typeof fromClient>[0], pair = 0): void {
    const packet = fromClient({ sourcePort: port, destinationPort: SERVICE + pair, ...fields });
    this.table.onCaptured(packet, this.nowMs);
  }

  /** Lets time pass; every `everyMs` a client comes, if given. */
  run(forMs: number, everyMs = Infinity, pair = 0): void {
    const endMs = this.nowMs + forMs;
    while (this.nowMs < endMs) {
      this.nowMs += STEP_MS;
      if (this.nowMs % everyMs === 0) this.connect(pair);
      const way = this.#way;
      this.#way = [];
      for (const packet of way) {
        if (!this.interlock.onResponse(packet, this.nowMs)) {
          this.table.onResponse(packet, this.nowMs);
        }
      }
      this.#wheel.advance(this.nowMs, (slot) => this.table.onTimer(slot));
      if (this.interlock.nextDeadlineMs() <= this.nowMs) this.interlock.advance(this.nowMs);
      this.table.flush(this.nowMs);
      this.interlock.serve(this.nowMs);
    }
  }

  /** Packets the target got since the last call. */
  received(): string[] {
    const { received } = this.target;
    this.target.received = [];
    return received;
  }
}

function nameOf(names: Record<string, number>, value: number): string {
  return Object.keys(names).find((name) => names[name] === value)!;
}

Deno.test("interlock: a probe is all that leaves before its answer has come", () => {
  const bench = new Bench();
  for (let i = 0; i < 50; i++) bench.connect();
  bench.run(900);
  assert.deepEqual(bench.received(), ["S", "A"]);
  bench.run(500);
  assert.deepEqual(bench.events, ["probe 0", "go 0"]);
  bench.run(1_500); // what waited keeps the pace of its own retries
  assert.equal(bench.target.connections.size, 50, "all that waited was sent, the probe is closed");
  assert.equal(bench.table.counters.acknowledgedBytes, 500);
});

Deno.test("interlock: with addresses of one's own nothing is probed first", () => {
  const bench = new Bench({
    config: { clientAddresses: Int32Array.of(CLIENT) },
    rules: { probesFirst: false },
  });
  bench.connect();
  bench.run(100);
  assert.deepEqual(bench.events, []);
  assert.equal(bench.table.counters.acknowledgedBytes, 10);
});

Deno.test("interlock: where the routes are missing clients get nothing but the probes' answers", () => {
  const bench = new Bench();
  bench.target.answers = "to clients";
  bench.run(60_000, 50);
  const probes = bench.events.filter((event) => event.startsWith("failed")).length;
  assert.match(bench.events[1], /^failed 0 NoAnswer 2000$/);
  assert.ok(probes >= 3 && probes <= 6, bench.events.join());
  assert.ok(bench.target.leaked <= 3 * (probes + 1), `${bench.target.leaked} packets`);
  assert.ok(bench.received().every((flags) => flags === "S" || flags === "R"));
  assert.equal(bench.table.counters.acknowledgedBytes, 0);
  bench.target.answers = "by intercept";
  bench.run(65_000, 50);
  assert.match(bench.events.at(-1)!, /^go/);
  assert.ok(bench.table.counters.acknowledgedBytes > 0);
});

Deno.test("interlock: intercept that only looks on is found out", () => {
  const bench = new Bench();
  bench.target.answers = "to both";
  bench.run(10_000, 50);
  assert.deepEqual(bench.events.slice(0, 2), ["probe 0", "failed 0 CutOff 2000"]);
  assert.ok(bench.target.leaked < 10, `${bench.target.leaked}`);
});

Deno.test("interlock: a service that does not listen, and one that is heard of once", () => {
  for (const [answers, result] of [["refused", "Refused"], ["from intercept once", "Lost"]]) {
    const bench = new Bench();
    bench.target.answers = answers as Answers;
    bench.connect();
    bench.run(6_000);
    assert.equal(bench.events[1], `failed 0 ${result} 2000`);
    bench.target.answers = "by intercept";
    bench.run(10_000, 100);
    assert.equal(bench.events.at(-1), "go 0");
  }
});

Deno.test("interlock: pauses between probes grow, and there is a last one where there is to be one", () => {
  const bench = new Bench({ rules: { maxFailures: { first: 8, later: 1 } } });
  bench.target.answers = "nowhere";
  bench.run(400_000, 1_000);
  const failed = bench.events.filter((event) => event.startsWith("failed"));
  assert.deepEqual(
    failed.map((event) => Number(event.split(" ")[3])),
    [2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, Infinity],
  );
  bench.received();
  bench.run(100_000, 1_000);
  assert.deepEqual(bench.received(), []);
});

Deno.test("interlock: a target that has worked may fail as often as it may later", () => {
  const bench = new Bench({ rules: { probesFirst: false, maxFailures: { first: 1, later: 3 } } });
  bench.run(2_000, 100);
  bench.target.answers = "nowhere";
  bench.run(60_000, 100);
  assert.match(
    bench.events.join(),
    /^stop 0 Silent,probe 0,.*2000,.*4000,failed 0 NoAnswer Infinity$/,
  );
});

Deno.test("interlock: answers that come late open the way at once, but not again and again", () => {
  const bench = new Bench({ rules: { probesFirst: false } });
  const late = () => {
    bench.target.answers = "nowhere";
    bench.run(2_500, 10);
    bench.target.answers = "by intercept";
    bench.events.length = 0;
    const [port] = bench.target.connections.keys();
    const fields = { flags: "A", destinationPort: port, sequence: 5001, acknowledgment: 100 };
    bench.interlock.onResponse(fromTarget(fields), bench.nowMs);
    return bench.events.join();
  };
  bench.run(1_000, 10);
  assert.deepEqual(Array.from({ length: 5 }, late), ["go 0", "go 0", "go 0", "go 0", ""]);
});

Deno.test("interlock: probes wait for the tunnel, and begin again when it was interrupted", () => {
  const bench = new Bench();
  bench.interlock.setWayBack(false, 0);
  bench.run(5_000, 100);
  assert.deepEqual(bench.received(), []);
  assert.equal(bench.interlock.holds, false);
  bench.interlock.setWayBack(true, bench.nowMs);
  bench.run(300);
  assert.equal(bench.interlock.holds, true);
  bench.interlock.setWayBack(false, bench.nowMs);
  bench.interlock.setWayBack(true, bench.nowMs);
  bench.run(2_000);
  assert.equal(bench.events.at(-1), "go 0");
  assert.equal(bench.interlock.holds, false);
});

Deno.test("interlock: answers that stop stop the sending within seconds, until they come again", () => {
  const bench = new Bench();
  bench.run(5_000, 100);
  bench.target.answers = "to clients";
  bench.received();
  bench.run(3_500, 100);
  assert.equal(bench.events.at(-1), "stop 0 Silent");
  const { leaked } = bench.target;
  bench.run(60_000, 100);
  assert.ok(bench.target.leaked - leaked < 30, `${bench.target.leaked - leaked}`);
  bench.target.answers = "by intercept";
  bench.run(65_000, 100);
  assert.equal(bench.events.at(-1), "go 0");
});

Deno.test("interlock: clients that reset the target's connections stop the sending", () => {
  const bench = new Bench({ rules: { probesFirst: false } });
  bench.run(5_000, 50);
  assert.deepEqual(bench.events, []);
  bench.target.answers = "to both";
  bench.run(8_000, 50);
  assert.equal(bench.events[0], "stop 0 CutOff");
  assert.match(bench.events.join(), /failed 0 CutOff 2000/);
  const { leaked } = bench.target;
  bench.run(20_000, 50);
  assert.ok(bench.target.leaked - leaked < 20, `${bench.target.leaked - leaked}`);
});

Deno.test("interlock: stops that come again and again come ever more rarely", () => {
  const bench = new Bench({ rules: { probesFirst: false } });
  bench.target.answers = "to both, but for probes";
  bench.run(300_000, 50);
  const stops = bench.events.filter((event) => event.startsWith("stop")).length;
  assert.ok(stops >= 4 && stops <= 12, `${stops}`);
});

Deno.test("interlock: one target's trouble is not the other's", () => {
  const bench = new Bench({ pairs: 2, rules: { probesFirst: false } });
  bench.target.answers = "nowhere";
  for (let i = 0; i < 100; i++) {
    bench.connect(0);
    bench.run(100, 50, 1);
  }
  assert.equal(bench.events[0], "stop 0 Silent");
  assert.ok(bench.events.every((event) => event.split(" ")[1] === "0"), bench.events.join());
  assert.equal(bench.targets[1].connections.size, 200);
});

Deno.test("interlock: few packets without an answer, refusals and a rest are no silence", () => {
  const bench = new Bench({ rules: { probesFirst: false } });
  bench.target.answers = "nowhere";
  bench.connect();
  bench.run(6_000);
  bench.target.answers = "refused";
  bench.run(20_000, 50);
  bench.target.answers = "by intercept";
  bench.run(5_000, 50);
  bench.run(100_000);
  bench.run(5_000, 50);
  assert.deepEqual(bench.events, []);
});

Deno.test("interlock: a target that has forgotten its connections is gone on with", () => {
  const bench = new Bench({ rules: { probesFirst: false } });
  const ports = Array.from({ length: 30 }, () => bench.connect());
  bench.run(1_000);
  bench.target.connections.clear();
  bench.run(3_000);
  for (const port of ports) bench.ask(port, 110);
  bench.run(3_000, 50);
  assert.ok(bench.table.counters.resets >= 30);
  assert.deepEqual(bench.events, []);
});

Deno.test("interlock: ports of probes come back, their routes are forgotten", () => {
  const bench = new Bench();
  bench.target.answers = "nowhere";
  bench.connect();
  bench.run(60_000);
  bench.target.answers = "by intercept";
  bench.run(100_000);
  assert.equal(bench.announced.size, 0);
  assert.equal(bench.table.knownFlows, 0);
});

/** Every 20 ms one of two clients comes in turn, one of whom gets the target's answers himself. */
function runWithLeftOut(bench: Bench, forMs: number): void {
  const leftOut = CLIENT + 0x100;
  bench.target.leftOut.add(leftOut);
  for (const endMs = bench.nowMs + forMs; bench.nowMs < endMs; bench.run(40)) {
    bench.connect();
    bench.connect(0, leftOut);
  }
}

Deno.test("interlock: clients that the target's route leaves out are left out, others are not", () => {
  const bench = new Bench();
  bench.run(2_000, 100);
  bench.events.length = 0;
  runWithLeftOut(bench, 5_000);
  assert.deepEqual(bench.events, ["left out 0 198.19.1.1"]);
  const { leaked } = bench.target;
  const complete = bench.table.counters.acknowledgedBytes;
  runWithLeftOut(bench, 30_000);
  assert.ok(bench.target.leaked - leaked <= 4, `${bench.target.leaked - leaked}`);
  assert.equal(bench.table.counters.acknowledgedBytes - complete, 30_000 / 40 * 10);
  bench.target.leftOut.clear();
  bench.run(15_000, 100);
  const before = bench.target.connections.size;
  for (let i = 0; i < 100; i++) bench.connect(0, CLIENT + 0x100);
  bench.run(100);
  assert.equal(
    bench.target.connections.size - before,
    100,
    "with the route they are served at once",
  );
});

Deno.test("interlock: many connections at once of one network are no silence", () => {
  const bench = new Bench();
  bench.run(2_000, 100);
  const before = bench.table.counters.heldPackets;
  for (let i = 0; i < 500; i++) bench.connect();
  bench.run(200);
  assert.equal(bench.table.counters.heldPackets, before);
});
