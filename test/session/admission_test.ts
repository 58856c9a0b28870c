/** Who is replayed: clients the online service has accepted, and nobody else. */

import assert from "node:assert/strict";
import { TimerWheel } from "../../src/loop/timer_wheel.ts";
import { DEFAULT_SESSION_CONFIG, type SessionConfig } from "../../src/session/config.ts";
import { Outcome } from "../../src/session/ledger.ts";
import { SessionTable } from "../../src/session/session_table.ts";
import { TransferMap } from "../../src/session/transfer.ts";
import {
  CLIENT,
  CLIENT_PORT,
  type Fields,
  flagsOf,
  fromClient,
  parse,
  RecordingSink,
  TARGET,
  TARGET_PORT,
} from "./harness.ts";
import { buildPacket } from "../sim/packet_builder.ts";

const ONLINE = 0xc6120101 | 0;
const CLIENT_ISS = 1000;
const SERVICE_ISS = 5000;
const PAYLOAD = new TextEncoder().encode("request");

class World {
  readonly sink = new RecordingSink();
  readonly table: SessionTable;
  nowMs = 1;

  constructor(config: Partial<SessionConfig> = {}) {
    this.table = new SessionTable(
      { ...DEFAULT_SESSION_CONFIG, ...config },
      new TransferMap([{
        onlineAddress: undefined,
        onlinePort: 80,
        targetAddress: TARGET,
        targetPort: TARGET_PORT,
      }]),
      this.sink,
      new TimerWheel(0),
      { announce() {}, forget() {} },
    );
  }

  client(fields: Fields): void {
    this.table.onCaptured(
      fromClient({ acknowledgment: SERVICE_ISS + 1, sequence: CLIENT_ISS + 1, ...fields }),
      this.nowMs,
    );
    this.table.flush(this.nowMs);
  }

  syn(fields: Partial<Fields> = {}): void {
    this.client({ flags: "S", sequence: CLIENT_ISS, acknowledgment: 0, ...fields });
  }

  /** The service accepts a client. */
  answer(to = CLIENT, port = CLIENT_PORT, sequence = CLIENT_ISS): void {
    const packet = buildPacket({
      source: ONLINE,
      sourcePort: 80,
      destination: to,
      destinationPort: port,
      sequence: SERVICE_ISS,
      acknowledgment: sequence + 1,
      flags: flagsOf("SA"),
      window: 65_535,
      windowScale: 7,
    });
    this.table.onCaptured(parse(packet), this.nowMs);
  }

  /** Flags of what was sent to the target. */
  sent(): string {
    return this.sink.take().map(({ flags }) => flags).join(" ");
  }

  ended(outcome: Outcome): number {
    return this.table.ledger.ended[outcome];
  }
}

Deno.test("a client is replayed when it acknowledges the service's SYN-ACK", () => {
  const world = new World();
  world.syn();
  world.answer();
  assert.equal(world.sent(), "", "a SYN proves nothing");
  world.client({ flags: "A" });
  assert.equal(world.sent(), "S");
  assert.equal(world.table.ledger.seen, 1);
});

Deno.test("who makes up what the service said is not replayed, and is counted", () => {
  const world = new World();
  world.syn();
  world.answer();
  world.client({ flags: "A", acknowledgment: 123_456_789 });
  world.client({ flags: "PA", acknowledgment: 123_456_789, payload: PAYLOAD });
  world.client({ flags: "FA", acknowledgment: 123_456_789, sequence: CLIENT_ISS + 8 });
  assert.equal(world.sent(), "");
  assert.equal(world.table.counters.unprovenPackets, 3);
  assert.equal(world.table.ledger.seen, 0);
  world.nowMs += 60_000;
  world.table.flush(world.nowMs);
  assert.deepEqual([world.table.ledger.seen, world.ended(Outcome.NeverAccepted)], [1, 1]);
  assert.equal(world.table.knownFlows, 0);
});

Deno.test("a number near the right one counts where the service has the client", () => {
  for (const word of [true, undefined, false]) {
    const world = new World();
    world.table.evidence = { lookAgain() {}, hasConnection: () => word };
    world.syn();
    world.answer();
    world.client({ flags: "A", acknowledgment: SERVICE_ISS });
    world.client({ flags: "A", acknowledgment: SERVICE_ISS + 5_000_000 });
    assert.equal(world.sent(), "");
    world.client({ flags: "A", acknowledgment: SERVICE_ISS + 500 });
    assert.equal(world.sent(), word ? "S" : "");
  }
});

Deno.test("once the service was seen to answer, who got no answer is not replayed", () => {
  const world = new World();
  world.answer(CLIENT + 1);
  world.syn();
  world.client({ flags: "A" });
  world.client({ flags: "PA", payload: PAYLOAD });
  assert.equal(world.sent(), "");
});

Deno.test("the answer may be read before the SYN, and without it", () => {
  const world = new World();
  world.answer();
  world.syn();
  world.client({ flags: "A" });
  assert.equal(world.sent(), "S");
  world.answer(CLIENT, 7);
  // Not the first packet behind the handshake: what this belongs to is not known.
  world.client({ flags: "PA", sourcePort: 7, sequence: CLIENT_ISS + 50, payload: PAYLOAD });
  assert.equal(world.sent(), "");
  world.client({ flags: "A", sourcePort: 7 });
  assert.equal(world.sent(), "S");
});

Deno.test("an answer that waits to be read is asked for", () => {
  const world = new World();
  world.answer(CLIENT + 1);
  world.table.evidence = { lookAgain: () => world.answer(), hasConnection: () => false };
  world.syn();
  world.client({ flags: "A" });
  assert.equal(world.sent(), "S");
});

Deno.test("answers are read up to the one that is looked for: the client's next connection waits", () => {
  const world = new World();
  const next = 7_000_000;
  const waiting = [CLIENT_ISS, next];
  world.table.evidence = {
    lookAgain(isFound) {
      while (waiting.length > 0 && !isFound()) world.answer(CLIENT, CLIENT_PORT, waiting.shift());
    },
    hasConnection: () => false,
  };
  for (const sequence of [CLIENT_ISS, next]) {
    world.syn({ sequence });
    world.client({ flags: "A", sequence: sequence + 1 });
    assert.equal(world.sent(), "S");
  }
});

Deno.test("where the service's answers leave from another port, the kernel's word counts", () => {
  for (const word of [true, false]) {
    const world = new World();
    world.table.evidence = { lookAgain() {}, hasConnection: () => word };
    world.syn();
    world.client({ flags: "A" });
    assert.equal(world.sent(), word ? "S" : "");
  }
});

Deno.test("where nobody can tell, what follows the SYN in order is believed, and said so once", () => {
  const world = new World();
  let said = 0;
  world.table.onUnproven = () => said++;
  world.syn();
  world.client({ flags: "A", sequence: CLIENT_ISS + 5_000_000 });
  world.client({ flags: "R", sequence: CLIENT_ISS + 77 });
  assert.equal(world.sent(), "");
  world.client({ flags: "A" });
  assert.equal(world.sent(), "S");
  world.syn({ sourcePort: 7 });
  world.client({ flags: "A", sourcePort: 7 });
  assert.equal(world.sent(), "S");
  assert.equal(said, 1);
});

Deno.test("a client that refuses the connection never had it", () => {
  const world = new World();
  world.syn();
  world.answer();
  world.client({ flags: "R" });
  assert.equal(world.ended(Outcome.NeverAccepted), 1);
  world.client({ flags: "A" });
  assert.equal(world.sent(), "");
});

Deno.test("a SYN in its name does nothing to a session until the service has accepted it", () => {
  const world = new World();
  world.syn();
  world.answer();
  world.client({ flags: "A" });
  world.syn({ sequence: 9_000_000 });
  world.client({ flags: "A", sequence: 9_000_001, acknowledgment: 77 });
  world.client({ flags: "PA", payload: PAYLOAD });
  assert.equal(world.table.counters.capturedBytes, PAYLOAD.length);
  assert.equal(world.table.openSessions, 1);
  assert.equal(world.sent(), "S");
  world.answer(CLIENT, CLIENT_PORT, 9_000_000);
  world.client({ flags: "A", sequence: 9_000_001 });
  assert.equal(world.table.openSessions, 2);
  assert.equal(world.sent(), "S");
});

Deno.test("a flood of SYNs and of stray segments leaves the sessions alone", () => {
  const world = new World({ maxSessions: 10 });
  world.answer(CLIENT + 1);
  const flood = 100_000;
  for (let i = 0; i < flood; i++) {
    const source = (0x0a00_0000 + i) | 0;
    world.table.onCaptured(fromClient({ flags: "S", source, sequence: i }), 1);
    world.table.onCaptured(
      fromClient({ flags: "PA", source: source + (1 << 20), sequence: i, payload: PAYLOAD }),
      1,
    );
  }
  assert.ok(world.table.knownFlows <= 2 << 16, `${world.table.knownFlows} flows`);
  assert.equal(world.table.payloadBytes, 0);
  assert.equal(world.table.openSessions, 0);
  assert.equal(world.ended(Outcome.NeverAccepted), flood - (1 << 16));
  assert.equal(world.ended(Outcome.NotJoined), flood - (1 << 16));
  for (let port = 1; port <= 10; port++) {
    world.syn({ sourcePort: port });
    world.answer(CLIENT, port);
    world.client({ flags: "A", sourcePort: port });
  }
  assert.equal(world.table.openSessions, 10);
  assert.equal(world.ended(Outcome.Shed), 0);
});

Deno.test("a connection in mid-stream is joined unless the service does not have it", () => {
  for (const word of [true, undefined, false]) {
    const world = new World();
    world.table.evidence = { lookAgain() {}, hasConnection: () => word };
    world.client({ flags: "PA", sequence: 100, acknowledgment: 50, payload: PAYLOAD });
    world.client({ flags: "PA", sequence: 107, acknowledgment: 90, payload: PAYLOAD });
    assert.equal(world.sent(), word === false ? "" : "S");
    assert.equal(world.ended(Outcome.NotJoined), word === false ? 1 : 0);
  }
});
