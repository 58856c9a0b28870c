/** Connections that were open before the capture: where they are joined. */

import assert from "node:assert/strict";
import { TimerWheel } from "../../src/loop/timer_wheel.ts";
import { DEFAULT_SESSION_CONFIG } from "../../src/session/config.ts";
import { SessionTable } from "../../src/session/session_table.ts";
import { TransferMap } from "../../src/session/transfer.ts";
import {
  CLIENT,
  CLIENT_PORT,
  fromClient,
  fromTarget,
  RecordingSink,
  TARGET,
  TARGET_PORT,
} from "./harness.ts";

const ONLINE = 0xc6120101 | 0;
const text = (string: string) => new TextEncoder().encode(string);

class World {
  readonly sink = new RecordingSink();
  readonly table = new SessionTable(
    { ...DEFAULT_SESSION_CONFIG },
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

  /** The client sends `payload`, having read the answer up to `acknowledgment`. */
  send(sequence: number, acknowledgment: number, payload: string): void {
    const packet = fromClient({ flags: "PA", sequence, acknowledgment, payload: text(payload) });
    this.table.onCaptured(packet, 1);
    this.table.flush(1);
  }

  /** Answers the SYN that was sent, and returns what is sent then. */
  accept(): string {
    const [syn] = this.sink.take();
    assert.equal(syn.flags, "S");
    const acknowledgment = (syn.sequence + 1) | 0;
    const destinationPort = syn.sourcePort;
    this.table.onResponse(
      fromTarget({ flags: "SA", sequence: 700, acknowledgment, destinationPort }),
      2,
    );
    this.table.flush(2);
    return this.sink.take().map(({ payload }) => new TextDecoder().decode(payload)).join("");
  }
}

Deno.test("in mid-stream, what may be the rest of a request is left out", () => {
  const world = new World();
  world.send(1000, 50, "rest of one");
  world.send(1011, 50, "pipelined, perhaps");
  assert.deepEqual(world.sink.take(), []);
  world.send(1029, 90, "the next");
  assert.equal(world.accept(), "the next");
  assert.equal(world.table.counters.joined, 1);
});

Deno.test("a gap before it hides whether something begins a request", () => {
  const world = new World();
  world.send(1000, 50, "rest of one");
  world.send(1020, 90, "after a gap");
  assert.deepEqual(world.sink.take(), []);
  world.send(1031, 130, "the next");
  assert.equal(world.accept(), "the next");
});

Deno.test("a connection that rests is joined with its very next request", () => {
  const world = new World();
  world.table.noteResting(CLIENT, CLIENT_PORT, ONLINE, 80);
  world.send(1000, 50, "the first seen");
  assert.equal(world.accept(), "the first seen");
  assert.equal(world.table.counters.joined, 1);
});

Deno.test("a new connection with the four-tuple of one that rested begins with its SYN", () => {
  const world = new World();
  world.table.noteResting(CLIENT, CLIENT_PORT, ONLINE, 80);
  world.table.onCaptured(fromClient({ flags: "S", sequence: 5000 }), 1);
  world.table.onCaptured(fromClient({ flags: "A", sequence: 5001, acknowledgment: 50 }), 1);
  world.table.flush(1);
  assert.equal(world.accept(), "");
  assert.equal(world.table.counters.joined, 0);
});

Deno.test("connections to other services are not noted", () => {
  const world = new World();
  world.table.noteResting(CLIENT, CLIENT_PORT, ONLINE, 81);
  world.send(1000, 50, "rest of one");
  assert.deepEqual(world.sink.take(), []);
});

Deno.test("bytes that come with the SYN are the first of the stream", () => {
  const world = new World();
  const fields = { sequence: 5000, payload: text("early ") };
  world.table.onCaptured(fromClient({ flags: "S", ...fields }), 1);
  world.send(5007, 50, "late");
  assert.equal(world.accept(), "early late");
  assert.equal(world.table.counters.capturedBytes, 10);
});

Deno.test("bytes of a SYN that the server did not take come again and count once", () => {
  const world = new World();
  world.table.onCaptured(fromClient({ flags: "S", sequence: 5000, payload: text("early") }), 1);
  world.send(5001, 50, "early and late");
  assert.equal(world.accept(), "early and late");
  assert.equal(world.table.counters.capturedBytes, 14);
});

Deno.test("played again, a file's open connections are joined again", () => {
  const world = new World();
  for (let round = 1; round <= 2; round++) {
    world.send(1000, 50, "rest of one");
    world.send(1011, 90, "the next");
    assert.equal(world.accept(), "the next");
    assert.equal(world.table.counters.joined, round);
    world.table.abortAll(3);
    world.sink.take();
    world.table.startOver();
  }
});
