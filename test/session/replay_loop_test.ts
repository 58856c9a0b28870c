/** Two tcpcopies whose targets are each other's services: what goes round comes to an end. */

import assert from "node:assert/strict";
import { TimerWheel } from "../../src/loop/timer_wheel.ts";
import { DEFAULT_SESSION_CONFIG, type SessionConfig } from "../../src/session/config.ts";
import { ForeignFlows } from "../../src/session/foreign_flows.ts";
import {
  generationOf,
  markedIdentification,
  markedSequence,
  markedWindow,
  MAX_GENERATIONS,
} from "../../src/session/replay_mark.ts";
import { SessionTable } from "../../src/session/session_table.ts";
import type { PacketSink } from "../../src/session/sink.ts";
import { TransferMap } from "../../src/session/transfer.ts";
import type { Packet } from "../../src/wire/packet.ts";
import { TcpFlag } from "../../src/wire/tcp_flags.ts";
import { Random } from "../sim/random.ts";
import { CLIENT, fromClient, fromTarget, parse } from "./harness.ts";

const ONE = 0xc6120101 | 0;
const OTHER = 0xc6120201 | 0;
const PORT = 80;

/** Hands over what is sent. */
class Wire implements PacketSink {
  readonly bytes = new Uint8Array(2048);
  readonly view = new DataView(this.bytes.buffer);
  packets: Packet[] = [];

  reserve(): number {
    return 0;
  }

  commit(lengthBytes: number): void {
    this.packets.push(parse(this.bytes.slice(0, lengthBytes)));
  }
}

/** A tcpcopy beside the server `online`, with the other one as its target. */
class Host {
  readonly wire = new Wire();
  readonly table: SessionTable;
  readonly online: number;
  syns = 0;

  constructor(online: number, target: number, config: Partial<SessionConfig>) {
    this.online = online;
    const pair = { onlineAddress: online, onlinePort: PORT, targetAddress: target };
    this.table = new SessionTable(
      { ...DEFAULT_SESSION_CONFIG, ...config },
      new TransferMap([{ ...pair, targetPort: PORT }]),
      this.wire,
      new TimerWheel(0),
      { announce() {}, forget() {} },
    );
  }

  capture(packet: Packet, nowMs: number): void {
    this.table.onCaptured(packet, nowMs);
    if (packet.flags !== TcpFlag.Syn) return;
    this.table.onServiceAccepts(fromTarget({ flags: "SA", ...answerTo(packet) }), nowMs);
  }

  /** Takes what was sent to its server; returns what it sends. Its server accepts every SYN. */
  turn(packets: readonly Packet[], nowMs: number): Packet[] {
    for (const packet of packets) this.capture(packet, nowMs);
    this.table.flush(nowMs);
    for (const packet of [...this.wire.packets]) {
      if (packet.flags !== TcpFlag.Syn) continue;
      this.syns++;
      this.table.onResponse(fromTarget({ flags: "SA", ...answerTo(packet) }), nowMs);
    }
    this.table.flush(nowMs);
    const sent = this.wire.packets;
    this.wire.packets = [];
    return sent;
  }
}

/** A client's SYN, or a tcpcopy's, and what completes the handshake. */
function opening(syn: Packet): Packet[] {
  const { sourcePort, sequence, destinationAddress } = syn;
  const at = { sequence: (sequence + 1) | 0, acknowledgment: 2 };
  const to = { destination: destinationAddress, destinationPort: PORT };
  return [syn, fromClient({ ...at, ...to, source: syn.sourceAddress, sourcePort, flags: "A" })];
}

function answerTo(syn: Packet) {
  return {
    source: syn.destinationAddress,
    sourcePort: syn.destinationPort,
    destination: syn.sourceAddress,
    destinationPort: syn.sourcePort,
    sequence: 1,
    acknowledgment: (syn.sequence + 1) | 0,
  };
}

/** A client opens a connection and sends requests; returns the SYNs each of both has sent. */
function goRound(config: Partial<SessionConfig>, rounds: number): [one: Host, other: Host] {
  const one = new Host(ONE, OTHER, config);
  const other = new Host(OTHER, ONE, config);
  const client = { destination: ONE, destinationPort: PORT };
  let toOne = opening(fromClient({ ...client, flags: "S", sequence: 99 }));
  for (let round = 0; round < rounds; round++) {
    const nowMs = 1 + round * 10;
    toOne = other.turn(one.turn(toOne, nowMs), nowMs);
  }
  return [one, other];
}

Deno.test("replays of replays: left out by default, one SYN goes round no further", () => {
  for (const clientAddresses of [new Int32Array(), Int32Array.of(0xc6130707 | 0)]) {
    const [one, other] = goRound({ clientAddresses }, 50);
    assert.deepEqual([one.syns, other.syns], [1, 0]);
    assert.equal(other.table.ledger.seen, 0);
    assert.equal(other.table.counters.foreignConnections, 1);
  }
});

Deno.test("replays of replays: as many in a row as allowed, then no more", () => {
  for (const maxGenerations of [1, 2, 3]) {
    const [one, other] = goRound({ maxGenerations }, 50);
    assert.equal(one.syns + other.syns, maxGenerations + 1);
  }
});

Deno.test("replays of replays: without the limit they do not end", () => {
  const [one, other] = goRound({ maxGenerations: MAX_GENERATIONS }, 50);
  assert.ok(one.syns + other.syns > 50, `${one.syns} + ${other.syns}`);
});

Deno.test("replays of replays: their requests are not joined either, also after a rest", () => {
  const one = new Host(ONE, OTHER, {});
  const other = new Host(OTHER, ONE, {});
  const client = { destination: ONE, destinationPort: PORT };
  other.turn(one.turn(opening(fromClient({ ...client, flags: "S", sequence: 99 })), 1), 1);
  for (let request = 0; request < 20; request++) {
    const nowMs = 60_000 * (request + 1);
    const at = { sequence: request * 10, acknowledgment: 1 + request * 100 };
    const payload = new Uint8Array(10);
    const fields = { ...client, source: CLIENT, flags: "PA", ...at, payload, destination: OTHER };
    assert.deepEqual(other.turn([fromClient(fields)], nowMs), []);
  }
  assert.equal(other.table.ledger.seen, 0);
});

Deno.test("replays of replays: the first one is told", () => {
  const host = new Host(ONE, OTHER, {});
  let told = 0;
  host.table.onForeign = () => told++;
  for (let i = 0; i < 3; i++) host.turn(opening(markedSyn(5000 + i)), 1);
  assert.equal(told, 1);
  assert.equal(host.table.counters.foreignConnections, 3);
});

/** A SYN as a tcpcopy sends it. */
function markedSyn(sourcePort: number, generation = 1, at = 123_456_789): Packet {
  const sequence = markedSequence(at);
  const packet = fromClient({
    flags: "S",
    sequence,
    sourcePort,
    destination: ONE,
    window: markedWindow(sequence, generation),
  });
  packet.view.setUint16(packet.ipOffset + 4, markedIdentification(sequence, generation));
  return packet;
}

Deno.test("marks: every generation is known, whatever the sequence number", () => {
  const random = new Random(1);
  for (let i = 0; i < 5_000; i++) {
    const generation = 1 + i % MAX_GENERATIONS;
    const at = random.int(-(2 ** 31), 2 ** 31 - 1);
    assert.equal(generationOf(markedSyn(7, generation, at)), generation);
    const first = markedSequence(at);
    assert.equal(first >> 8, at >> 8, "what comes a second later has a higher number");
  }
});

Deno.test("marks: clients' SYNs have none, though each part of a mark fits some of them", () => {
  const random = new Random(2);
  const packet = fromClient({ flags: "S" });
  for (let i = 0; i < 200_000; i++) {
    const sequence = random.int(-(2 ** 31), 2 ** 31 - 1);
    packet.sequence = i % 2 === 0 ? markedSequence(sequence) : sequence;
    packet.window = i % 3 === 0 ? markedWindow(packet.sequence, 1) : random.int(0, 65535);
    packet.view.setUint16(packet.ipOffset + 4, random.int(0, 65535));
    const hits = generationOf(packet);
    // One in 65,536 of those of which two parts of three fit.
    if (i % 6 !== 0) assert.equal(hits, 0);
  }
});

Deno.test("replays of replays: a mark in a client's name changes nothing for the client", () => {
  const host = new Host(ONE, OTHER, {});
  const client = { destination: ONE, destinationPort: PORT, sourcePort: 7 };
  host.turn(opening(fromClient({ ...client, flags: "S", sequence: 99 })), 1);
  host.table.onCaptured(markedSyn(7), 2);
  const at = { sequence: 100, acknowledgment: 2, payload: new Uint8Array(10) };
  const sent = host.turn([fromClient({ ...client, ...at, flags: "PA" })], 3);
  assert.deepEqual(sent.map(({ payloadLength }) => payloadLength), [10]);
});

Deno.test("foreign flows: their number is bounded, a client's connection ends them", () => {
  const flows = new ForeignFlows(1000);
  for (let i = 0; i < 200_000; i++) flows.add(i, 80, 1);
  assert.ok(flows.size <= 1 << 16, `${flows.size}`);
  assert.equal(flows.has(199_999, 80), true);
  flows.delete(199_999, 80);
  assert.equal(flows.has(199_999, 80), false);
});

Deno.test("foreign flows: heard, they stay; silent, they are forgotten", () => {
  const flows = new ForeignFlows(1000);
  flows.add(1, 80, 0);
  for (let nowMs = 900; nowMs < 9_000; nowMs += 900) {
    flows.add(2, 80, nowMs);
    assert.equal(flows.has(1, 80), true);
  }
  for (const nowMs of [20_000, 30_000, 40_000]) flows.add(3, 80, nowMs);
  assert.equal(flows.has(1, 80), false);
});
