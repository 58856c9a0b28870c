/** Scenarios of whole sessions: a captured client on one side, a target on the other. */

import assert from "node:assert/strict";
import { TimerWheel } from "../../src/loop/timer_wheel.ts";
import { DEFAULT_SESSION_CONFIG, type SessionConfig } from "../../src/session/config.ts";
import { OUTCOME_NAMES } from "../../src/session/ledger.ts";
import { SessionTable } from "../../src/session/session_table.ts";
import { TransferMap } from "../../src/session/transfer.ts";
import {
  CLIENT_PORT,
  type Fields,
  fromClient,
  fromTarget,
  RecordingSink,
  type Sent,
  TARGET,
  TARGET_PORT,
} from "./harness.ts";

/** Sequence numbers: of the client, of the online server, of the target. */
const CLIENT_ISS = 1000;
const ONLINE_ISS = 2_000_000;
const TARGET_ISS = 0x7fffffff;

class Bench {
  readonly sink = new RecordingSink();
  readonly routes: string[] = [];
  readonly table: SessionTable;
  readonly #wheel = new TimerWheel(0);
  nowMs = 10;
  /** The simulated client's connection as the target sees it. */
  port = 0;
  iss = 0;

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
      this.#wheel,
      {
        announce: (_address, port) => this.routes.push(`+${port}`),
        forget: (_address, port) => this.routes.push(`-${port}`),
      },
    );
  }

  /**
   * The client sends; positions count from the first byte of either stream. A SYN is followed by what
   * completes the handshake.
   */
  client(fields: Fields & { at?: number; read?: number; text?: string }): void {
    this.packet(fields);
    if (fields.flags === "S") {
      const { at = 0, text = "", sourcePort = CLIENT_PORT } = fields;
      this.packet({ flags: "A", at: at + 1 + text.length, sourcePort });
    }
  }

  /** One packet of the client, and nothing else. */
  packet(fields: Fields & { at?: number; read?: number; text?: string }): void {
    this.table.onCaptured(
      fromClient({
        sequence: (CLIENT_ISS + 1 + (fields.at ?? 0)) | 0,
        acknowledgment: fields.flags.includes("A") ? (ONLINE_ISS + 1 + (fields.read ?? 0)) | 0 : 0,
        payload: fields.text === undefined ? undefined : new TextEncoder().encode(fields.text),
        ...fields,
      }),
      this.nowMs,
    );
  }

  /** The target sends: `ack` counts the request bytes it has, `length` its own. */
  target(fields: Fields & { at?: number; ack?: number; length?: number }): void {
    this.table.onResponse(
      fromTarget({
        sequence: (TARGET_ISS + 1 + (fields.at ?? 0)) | 0,
        acknowledgment: (this.iss + 1 + (fields.ack ?? 0)) | 0,
        destinationPort: this.port,
        absentPayloadBytes: fields.length ?? 0,
        ...fields,
      }),
      this.nowMs,
    );
  }

  /** Ends the loop's turn. Returns what was sent, as `flags@position "payload"`. */
  turn(): string[] {
    this.table.flush(this.nowMs);
    return this.#describe(this.sink.take());
  }

  /** Lets time pass, with every timer. Returns what was sent meanwhile, with the time. */
  wait(forMs: number): string[] {
    const untilMs = this.nowMs + forMs;
    const sent: string[] = [];
    for (let steps = 0; this.nowMs < untilMs; steps++) {
      assert.ok(steps < 2000, "the timers spin");
      const nextMs = Math.max(this.nowMs + 1, this.#wheel.nextDeadlineMs());
      this.nowMs = Math.min(untilMs, nextMs);
      this.#wheel.advance(this.nowMs, (slot) => this.table.onTimer(slot));
      this.table.flush(this.nowMs);
      const atMs = this.nowMs - untilMs + forMs;
      sent.push(...this.#describe(this.sink.take()).map((one) => `${atMs}: ${one}`));
    }
    return sent;
  }

  /** The client connects and so does its simulation. */
  open(): void {
    this.client({ flags: "S", at: -1, mss: 1460, sackPermitted: true, windowScale: 7 });
    this.client({ flags: "A" });
    this.turn();
    this.accept();
    assert.deepEqual(this.turn(), ["A@0"]);
  }

  /** The target takes the connection whose SYN was sent last. */
  accept(): void {
    this.target({ flags: "SA", at: -1, mss: 1460, sackPermitted: true, windowScale: 7 });
  }

  /** The outcomes booked, in words. */
  outcomes(): string {
    const { ended } = this.table.ledger;
    return OUTCOME_NAMES.flatMap((name, i) => new Array(ended[i]).fill(name)).join(", ");
  }

  /** Nothing is left: no session, no memory, and after a while no flow. */
  assertEmpty(): void {
    assert.equal(this.table.openSessions, 0);
    assert.equal(this.table.ledger.open, 0);
    assert.equal(this.table.payloadBytes, 0);
    assert.equal(this.table.context.store.used, 0);
    this.nowMs += 10_000;
    this.turn();
    this.nowMs += 10_000;
    this.turn();
    assert.equal(this.table.knownFlows, 0);
    const announced = this.routes.filter((one) => one.startsWith("+")).map((one) => one.slice(1));
    assert.deepEqual(
      [...new Set(announced)].sort(), // a route may be announced again
      this.routes.filter((one) => one.startsWith("-")).map((one) => one.slice(1)).sort(),
    );
  }

  #describe(sent: readonly Sent[]): string[] {
    return sent.map(({ flags, sequence, payload, sourcePort }) => {
      if (flags === "S") {
        this.port = sourcePort;
        this.iss = sequence;
      }
      const text = new TextDecoder().decode(payload);
      return `${flags}@${(sequence - this.iss - 1) | 0}${text === "" ? "" : ` ${text}`}`;
    });
  }
}

Deno.test("a whole conversation: one packet per turn, the FIN when all is answered", () => {
  const bench = new Bench();
  bench.open();
  assert.deepEqual(bench.routes, [`+${CLIENT_PORT}`]);
  bench.client({ flags: "PA", text: "one" });
  assert.deepEqual(bench.turn(), ["PA@0 one"]);
  bench.client({ flags: "A", at: 3, read: 100 });
  bench.client({ flags: "PA", at: 3, read: 100, text: "two" });
  bench.client({ flags: "FA", at: 6, read: 300 });
  assert.deepEqual(bench.turn(), []);
  bench.target({ flags: "PA", ack: 3, length: 100 });
  assert.deepEqual(bench.turn(), ["PA@3 two"]);
  bench.target({ flags: "PA", at: 100, ack: 6, length: 200 });
  assert.deepEqual(bench.turn(), ["FA@6"]);
  bench.target({ flags: "FA", at: 300, ack: 7 });
  assert.deepEqual(bench.turn(), ["A@7"]);
  assert.equal(bench.outcomes(), "complete");
  bench.assertEmpty();
});

Deno.test("the route is announced before the SYN leaves", () => {
  const bench = new Bench();
  bench.client({ flags: "S", at: -1 });
  assert.deepEqual(bench.routes, []);
  assert.deepEqual(bench.turn(), ["S@-1"]);
  assert.deepEqual(bench.routes, [`+${CLIENT_PORT}`]);
});

Deno.test("a request captured together with the SYN does not change the sequence numbers", () => {
  const isns = [false, true].map((together) => {
    const bench = new Bench({ clockOffsetMs: 5_000_000 });
    bench.client({ flags: "S", at: -1 });
    if (together) bench.client({ flags: "PA", text: "one" });
    bench.turn();
    bench.accept();
    assert.deepEqual(bench.turn(), together ? ["PA@0 one"] : ["A@0"]);
    return bench.iss;
  });
  assert.equal(isns[0], isns[1]);
});

Deno.test("pipelined requests go out together, the next turn after all answers", () => {
  const bench = new Bench();
  bench.open();
  bench.client({ flags: "PA", text: "one" });
  bench.client({ flags: "PA", at: 3, text: "two" });
  bench.client({ flags: "PA", at: 6, read: 50, text: "three" });
  assert.deepEqual(bench.turn(), ["PA@0 one", "PA@3 two"]);
  bench.target({ flags: "PA", ack: 6, length: 20 });
  assert.deepEqual(bench.turn(), ["A@6"]);
  bench.target({ flags: "PA", at: 20, ack: 6, length: 30 });
  assert.deepEqual(bench.turn(), ["PA@6 three"]);
});

Deno.test("a server that speaks first is waited for", () => {
  const bench = new Bench();
  bench.open();
  bench.client({ flags: "A", read: 8 });
  bench.client({ flags: "PA", read: 8, text: "hello" });
  assert.deepEqual(bench.turn(), []);
  bench.target({ flags: "PA", length: 8 });
  assert.deepEqual(bench.turn(), ["PA@0 hello"]);
});

Deno.test("without waiting, requests go as they were captured", () => {
  const bench = new Bench({ waitForAnswers: false });
  bench.open();
  bench.client({ flags: "PA", text: "one" });
  bench.client({ flags: "PA", at: 3, read: 100, text: "two" });
  assert.deepEqual(bench.turn(), ["PA@0 one", "PA@3 two"]);
});

/** Plays turns whose answers are as long as online, until lengths are known to agree. */
function agree(bench: Bench, turns = 20): number {
  for (let i = 0; i < turns; i++) {
    bench.client({ flags: "PA", at: i, read: i * 10, text: "a" });
    bench.turn();
    bench.target({ flags: "PA", at: i * 10, ack: i + 1, length: 10 });
  }
  return turns;
}

Deno.test("a client that reads answers while it goes on asking is followed without a pause", () => {
  const bench = new Bench();
  bench.open();
  const at = agree(bench);
  const read = at * 10;
  bench.client({ flags: "PA", at, read, text: "a" });
  bench.client({ flags: "PA", at: at + 1, read, text: "b" });
  bench.client({ flags: "PA", at: at + 2, read: read + 15, text: "c" }); // the first answer
  bench.client({ flags: "PA", at: at + 3, read: read + 35, text: "d" }); // the second and the third
  bench.turn();
  bench.target({ flags: "PA", at: read, ack: at + 2, length: 15 });
  bench.target({ flags: "PA", at: read + 15, ack: at + 2, length: 10 });
  assert.deepEqual(bench.turn(), [`PA@${at + 2} c`]);
  bench.target({ flags: "PA", at: read + 25, ack: at + 3, length: 10 });
  assert.deepEqual(bench.turn(), [`PA@${at + 3} d`]);
  assert.equal(bench.table.counters.otherLengths, 0);
});

for (const length of [93, 107]) {
  Deno.test(`answers of ${length} bytes instead of 100 end by silence: long at first, then none`, () => {
    const bench = new Bench();
    bench.open();
    bench.client({ flags: "PA", text: "a" });
    bench.turn();
    const waits: number[] = [];
    for (let i = 1; i <= 80; i++) {
      bench.client({ flags: "PA", at: i, read: i * 100, text: "b" });
      bench.target({ flags: "PA", at: (i - 1) * length, ack: i, length });
      const sent = bench.turn().concat(bench.wait(500)).find((one) => one.includes("b"))!;
      waits.push(sent.startsWith("PA") ? 0 : Number.parseInt(sent));
    }
    assert.ok(waits[0] >= 32 && waits[0] <= 200, `${waits[0]} ms at first`);
    assert.ok(waits[16] <= 12, `${waits[16]} ms after 16 turns`);
    assert.equal(waits[79], 0);
    assert.equal(bench.table.counters.otherLengths, 80);
    assert.equal(bench.table.counters.turns, 81);
  });
}

Deno.test("an answer that does not end with a push, or has a hole, is given more time", () => {
  const bench = new Bench();
  bench.open();
  bench.client({ flags: "PA", text: "a" });
  bench.client({ flags: "PA", at: 1, read: 3000, text: "b" });
  bench.turn();
  bench.target({ flags: "A", ack: 1, length: 1000 });
  bench.turn();
  assert.deepEqual(bench.wait(500).filter((one) => one.includes("b")), []);
  bench.target({ flags: "PA", at: 2000, ack: 1, length: 500 });
  bench.turn();
  assert.deepEqual(bench.wait(4000).filter((one) => one.includes("b")), []);
  bench.target({ flags: "A", at: 1000, ack: 1, length: 1000 });
  bench.turn();
  const atMs = Number.parseInt(bench.wait(2000).find((one) => one.includes("b"))!);
  assert.ok(atMs >= 64, `${atMs} ms`);
});

Deno.test("an answer that does not begin is waited for beyond the time it took online", () => {
  const bench = new Bench({ answerTimeoutMs: 3000 });
  bench.open();
  bench.client({ flags: "PA", text: "a" });
  bench.turn();
  bench.target({ flags: "A", ack: 1 });
  assert.deepEqual(bench.wait(500), []);
  bench.client({ flags: "PA", at: 1, read: 100, text: "b" });
  assert.deepEqual(bench.turn(), []);
  assert.equal(bench.wait(5000)[0], "3000: PA@1 b");
  assert.equal(bench.table.counters.unanswered, 1);
  assert.equal(bench.table.counters.otherLengths, 0);
});

Deno.test("a session too far behind stops waiting until it has caught up", () => {
  const bench = new Bench({ maxLagMs: 1000 });
  bench.open();
  for (let i = 0; i < 3; i++) {
    bench.client({ flags: "PA", at: i, read: i * 10, text: "abc"[i] });
    bench.turn();
  }
  bench.target({ flags: "A", ack: 1 });
  assert.deepEqual(bench.wait(900), []);
  assert.deepEqual(bench.wait(110).map((one) => one.slice(-6)), ["PA@1 b", "PA@2 c"]);
  assert.equal(bench.table.counters.unwaited, 2);
  bench.client({ flags: "PA", at: 3, read: 30, text: "d" });
  assert.deepEqual(bench.turn(), []);
  bench.target({ flags: "PA", ack: 3, length: 30 });
  assert.ok(bench.wait(500).some((one) => one.includes("d")));
  assert.equal(bench.table.counters.unwaited, 2);
  assert.ok(bench.table.delays.maxMs >= 1000);
});

Deno.test("silence does not count while the way back is interrupted", () => {
  const bench = new Bench();
  bench.open();
  bench.client({ flags: "PA", text: "a" });
  bench.client({ flags: "PA", at: 1, read: 300, text: "b" });
  bench.turn();
  bench.target({ flags: "PA", ack: 1, length: 100 });
  bench.turn();
  bench.table.wayBackWorks = false;
  assert.deepEqual(bench.wait(8000).filter((one) => one.includes("b")), []);
  bench.table.wayBackWorks = true;
  bench.table.kickAll(bench.nowMs);
  assert.deepEqual(bench.turn(), []);
  const atMs = Number.parseInt(bench.wait(3000).find((one) => one.includes("b"))!);
  assert.ok(atMs >= 10, `${atMs} ms`);
});

Deno.test("the end of a longer answer does not pass for the next answer", () => {
  const bench = new Bench();
  bench.open();
  bench.client({ flags: "PA", text: "a" });
  bench.client({ flags: "PA", at: 1, read: 100, text: "b" });
  bench.client({ flags: "PA", at: 2, read: 200, text: "c" });
  bench.turn();
  bench.target({ flags: "PA", ack: 1, length: 100 });
  assert.deepEqual(bench.turn(), ["PA@1 b"]);
  bench.target({ flags: "PA", at: 100, ack: 1, length: 100 }); // still the first answer
  assert.deepEqual(bench.turn().filter((one) => one.includes("c")), []);
  bench.target({ flags: "PA", at: 200, ack: 2, length: 100 });
  assert.deepEqual(bench.turn(), ["PA@2 c"]);
});

Deno.test("a request that came too early is counted, and the target is listened to longer", () => {
  const bench = new Bench();
  bench.open();
  bench.client({ flags: "PA", text: "a" });
  bench.client({ flags: "PA", at: 1, read: 100, text: "b" });
  bench.turn();
  bench.target({ flags: "PA", ack: 1, length: 60 });
  assert.ok(bench.wait(1000).some((one) => one.includes("b")));
  bench.target({ flags: "PA", at: 60, ack: 1, length: 33 });
  bench.turn();
  assert.equal(bench.table.counters.early, 1);
});

Deno.test("half-close: the FIN goes out before the answer", () => {
  const bench = new Bench();
  bench.open();
  bench.client({ flags: "PA", text: "one" });
  bench.client({ flags: "FA", at: 3 });
  assert.deepEqual(bench.turn(), ["PA@0 one", "FA@3"]);
  bench.target({ flags: "PA", ack: 4, length: 10 });
  bench.turn();
  assert.equal(bench.outcomes(), "");
  bench.target({ flags: "FA", at: 10, ack: 4 });
  assert.deepEqual(bench.turn(), ["A@4"]);
  assert.equal(bench.outcomes(), "complete");
  bench.assertEmpty();
});

Deno.test("a reset is passed on when everything before it has arrived", () => {
  const bench = new Bench();
  bench.open();
  bench.client({ flags: "PA", text: "one" });
  bench.client({ flags: "RA", at: 3 });
  assert.deepEqual(bench.turn(), ["PA@0 one"]);
  bench.target({ flags: "A", ack: 3 });
  assert.deepEqual(bench.turn(), ["RA@3"]);
  assert.equal(bench.outcomes(), "complete");
  bench.assertEmpty();
});

Deno.test("a FIN followed by a reset is repeated as both", () => {
  const bench = new Bench();
  bench.open();
  bench.client({ flags: "FA" });
  bench.client({ flags: "R", at: 1 });
  assert.deepEqual(bench.turn(), ["FA@0"]);
  bench.target({ flags: "A", ack: 1 });
  assert.deepEqual(bench.turn(), ["RA@1"]);
  assert.equal(bench.outcomes(), "complete");
  bench.assertEmpty();
});

Deno.test("what a target that closed early did not take goes over a fresh connection", () => {
  const bench = new Bench();
  bench.open();
  bench.client({ flags: "PA", text: "one" });
  bench.client({ flags: "PA", at: 3, read: 100, text: "two" });
  bench.turn();
  bench.target({ flags: "PA", ack: 3, length: 40 });
  bench.target({ flags: "FA", at: 40, ack: 3 });
  const firstPort = bench.port;
  assert.deepEqual(bench.turn(), ["FA@3", "S@-1"]);
  assert.notEqual(bench.port, firstPort);
  bench.accept();
  assert.deepEqual(bench.turn(), ["PA@0 two"]);
  bench.client({ flags: "FA", at: 6, read: 200 });
  bench.target({ flags: "PA", ack: 3, length: 100 });
  assert.deepEqual(bench.turn(), ["FA@3"]);
  bench.target({ flags: "FA", at: 100, ack: 4 });
  bench.turn();
  assert.equal(bench.outcomes(), "continued");
  assert.equal(bench.table.counters.reconnects, 1);
  bench.assertEmpty();
});

Deno.test("after a close in a pause the next request goes over a fresh connection at once", () => {
  const bench = new Bench();
  bench.open();
  bench.client({ flags: "PA", text: "one" });
  bench.turn();
  bench.target({ flags: "PA", ack: 3, length: 100 });
  bench.target({ flags: "FA", at: 100, ack: 3 });
  assert.deepEqual(bench.turn(), ["A@3"]);
  bench.client({ flags: "PA", at: 3, read: 100, text: "two" });
  assert.deepEqual(bench.turn(), ["FA@3", "S@-1"]);
  bench.accept();
  assert.deepEqual(bench.turn(), ["PA@0 two"]);
});

Deno.test("a client that went on after the server's FIN does so on the same connection", () => {
  const bench = new Bench();
  bench.open();
  bench.client({ flags: "PA", text: "one" });
  bench.turn();
  bench.target({ flags: "PA", ack: 3, length: 100 });
  bench.target({ flags: "FA", at: 100, ack: 3 });
  bench.turn();
  bench.client({ flags: "PA", at: 3, read: 101, text: "two" });
  assert.deepEqual(bench.turn(), ["PA@3 two"]);
});

Deno.test("after a reset in a pause the next request does not wait for an older answer", () => {
  const bench = new Bench();
  bench.open();
  bench.client({ flags: "PA", text: "one" });
  bench.turn();
  bench.target({ flags: "PA", ack: 3, length: 100 });
  bench.turn();
  bench.target({ flags: "RA", at: 100, ack: 3 });
  assert.deepEqual(bench.turn(), []);
  bench.client({ flags: "PA", at: 3, read: 100, text: "two" });
  assert.deepEqual(bench.turn(), ["S@-1"]);
  bench.accept();
  assert.deepEqual(bench.turn(), ["PA@0 two"]);
});

Deno.test("a request that goes on while the reset arrives is repeated whole", () => {
  const bench = new Bench();
  bench.open();
  bench.client({ flags: "A", text: "begin" });
  bench.turn();
  bench.target({ flags: "R", at: 0 });
  bench.client({ flags: "PA", at: 5, text: "-end" });
  assert.deepEqual(bench.turn(), []);
  assert.ok(bench.wait(200).some((one) => one.endsWith("S@-1")));
  bench.accept();
  assert.deepEqual(bench.turn(), ["A@0 begin", "PA@5 -end"]);
  assert.equal(bench.table.counters.lostBytes, 0);
});

Deno.test("of a request cut by a reset the rest is lost, and the next goes on", () => {
  const bench = new Bench();
  bench.open();
  bench.client({ flags: "A", text: "x".repeat(1460) });
  bench.client({ flags: "PA", at: 1460, text: "y".repeat(1460) });
  bench.client({ flags: "PA", at: 2920, read: 10, text: "next" });
  bench.client({ flags: "FA", at: 2924, read: 10 });
  bench.turn();
  bench.target({ flags: "A", ack: 1460 });
  bench.target({ flags: "R", at: 0 });
  bench.turn();
  assert.ok(bench.wait(200).some((one) => one.endsWith("S@-1")));
  bench.accept();
  assert.deepEqual(bench.turn(), ["PA@0 next", "FA@4"]);
  bench.target({ flags: "FA", ack: 5 });
  bench.turn();
  assert.equal(bench.outcomes(), "reset by target");
  assert.equal(bench.table.counters.lostBytes, 1460);
  bench.assertEmpty();
});

Deno.test("an acknowledged request is sent again, once, when a connection that served is reset", () => {
  const bench = new Bench();
  bench.open();
  bench.client({ flags: "PA", text: "one" });
  bench.turn();
  bench.target({ flags: "PA", ack: 3, length: 10 });
  bench.client({ flags: "PA", at: 3, read: 10, text: "two" });
  assert.deepEqual(bench.turn(), ["PA@3 two"]);
  bench.target({ flags: "A", at: 10, ack: 6 });
  bench.target({ flags: "R", at: 10 });
  assert.deepEqual(bench.turn(), ["S@-1"]); // the connection had been of use: at once
  bench.accept();
  assert.deepEqual(bench.turn(), ["PA@0 two"]);
  const { counters } = bench.table;
  assert.deepEqual([counters.repeatedTurns, counters.acknowledgedBytes], [1, 3]);
  bench.target({ flags: "A", ack: 3 });
  bench.target({ flags: "R", at: 0 });
  bench.turn();
  assert.deepEqual(bench.wait(1000), []); // not a third time
  assert.deepEqual([counters.repeatedTurns, counters.lostBytes], [1, 0]);
  bench.client({ flags: "FA", at: 6, read: 20 });
  bench.turn();
  assert.equal(bench.outcomes(), "continued");
  bench.assertEmpty();
});

Deno.test("a target that ends every connection without an answer is given up, with pauses", () => {
  const bench = new Bench({ maxFruitless: 3, firstBackoffMs: 100 });
  bench.open();
  bench.client({ flags: "PA", text: "one" });
  bench.turn();
  const pauses: number[] = [];
  for (let i = 0; i < 3; i++) {
    assert.equal(bench.outcomes(), "");
    bench.target({ flags: "R", at: 0 });
    assert.deepEqual(bench.turn(), []);
    const sent = bench.wait(2000).filter((one) => one.endsWith("S@-1"));
    pauses.push(Number.parseInt(sent[0]));
    bench.accept();
    bench.turn();
  }
  bench.target({ flags: "R", at: 0 });
  bench.turn();
  for (const [i, pause] of pauses.entries()) {
    const leastMs = 100 << i;
    assert.ok(pause >= leastMs && pause <= leastMs * 1.6, `${pause} ms, the least is ${leastMs}`);
  }
  assert.equal(bench.outcomes(), "rejected");
  assert.equal(bench.table.counters.reconnects, 3);
  assert.equal(bench.table.counters.fruitless, 4);
  bench.assertEmpty();
});

Deno.test("where the target speaks first, one answer of another length may be a refused login", () => {
  const bench = new Bench({ maxFruitless: 2 });
  bench.client({ flags: "S", at: -1 });
  bench.client({ flags: "A" });
  for (const [turn, text] of ["login", "query", "again", "still"].entries()) {
    bench.client({ flags: "PA", at: turn * 5, read: 50 + turn * 9, text });
  }
  bench.turn();
  let connections = 0;
  while (bench.outcomes() === "" && connections < 9) {
    connections++;
    bench.accept();
    assert.ok(bench.turn().every((one) => !one.startsWith("P")), "the greeting is waited for");
    bench.target({ flags: "PA", length: 50 });
    bench.turn();
    bench.target({ flags: "PFA", at: 50, ack: 5, length: 70 });
    bench.turn();
    bench.wait(700);
  }
  assert.equal(bench.outcomes(), "rejected");
  assert.equal(connections, 3);
});

Deno.test("a packet with a wrong checksum does not take the good one's place", () => {
  const bench = new Bench();
  bench.open();
  const bad = fromClient({
    flags: "PA",
    sequence: (CLIENT_ISS + 1) | 0,
    acknowledgment: (ONLINE_ISS + 1) | 0,
    payload: new TextEncoder().encode("evil"),
  });
  bad.bytes[bad.payloadOffset] ^= 1;
  bench.table.onCaptured(bad, bench.nowMs);
  assert.deepEqual(bench.turn(), []);
  bench.client({ flags: "PA", text: "good" });
  assert.deepEqual(bench.turn(), ["PA@0 good"]);
  assert.equal(bench.table.counters.wrongChecksums, 1);

  // In a file that was made without checksums they say nothing.
  const file = new Bench({ checksums: "mostly right" });
  file.open();
  file.table.onCaptured(bad, file.nowMs);
  assert.deepEqual(file.turn(), ["PA@0 dvil"]);
  // Where most are right, one that is not does.
  const mixed = new Bench({ checksums: "mostly right" });
  mixed.open();
  agree(mixed);
  mixed.turn();
  const [requestPackets] = mixed.table.requestsOf;
  mixed.table.onCaptured(bad, mixed.nowMs);
  assert.deepEqual(mixed.table.requestsOf, [requestPackets + 1]);
  assert.equal(mixed.table.counters.duplicateBytes, 0);
});

Deno.test("encrypted connections are recognised, said once, and not sent", () => {
  const hello = "\x16\x03\x01\x02\x00\x01rest";
  const bench = new Bench();
  let told = 0;
  bench.table.onEncrypted = () => told++;
  bench.open();
  bench.client({ flags: "PA", text: hello });
  assert.deepEqual(bench.turn(), ["RA@0"]);
  assert.equal(bench.outcomes(), "encrypted");
  // What is still captured of it begins nothing.
  bench.client({ flags: "PA", at: 10, read: 9, text: "\x17\x03\x03\x00\x10" });
  assert.deepEqual(bench.turn(), []);
  // The next one is looked at before the target hears of it.
  bench.client({ flags: "S", at: 5000, sourcePort: 999 });
  assert.deepEqual(bench.turn(), []);
  bench.client({ flags: "PA", at: 5001, text: hello, sourcePort: 999 });
  assert.deepEqual(bench.turn(), []);
  assert.equal(bench.outcomes(), "encrypted, encrypted");
  assert.equal(told, 1);
  bench.client({ flags: "S", at: 9000, sourcePort: 998 });
  bench.client({ flags: "PA", at: 9001, text: "GET /", sourcePort: 998 });
  assert.deepEqual(bench.turn().map((one) => one[0]), ["S"]);

  const asIs = new Bench({ replaysTls: true });
  asIs.open();
  asIs.client({ flags: "PA", text: hello });
  assert.equal(asIs.turn().length, 1);
});

Deno.test("refused, and not answered at all", () => {
  const refused = new Bench();
  refused.client({ flags: "S", at: -1 });
  refused.client({ flags: "PA", text: "one" });
  refused.turn();
  refused.target({ flags: "RA" });
  refused.turn();
  assert.equal(refused.outcomes(), "refused");
  // What is still captured of the connection begins nothing new.
  refused.client({ flags: "PA", at: 3, read: 9, text: "two" });
  refused.client({ flags: "PA", at: 6, read: 99, text: "three" });
  assert.deepEqual(refused.turn(), []);
  assert.equal(refused.table.ledger.seen, 1);
  refused.assertEmpty();

  const silent = new Bench();
  silent.client({ flags: "S", at: -1 });
  silent.turn();
  assert.deepEqual(silent.wait(30_000), [
    "1000: S@-1",
    "3000: S@-1",
    "7000: S@-1",
    "15000: S@-1",
    "20000: R@0",
  ]);
  assert.equal(silent.outcomes(), "no answer");
  // Announced again with each time-out from the second one on.
  assert.equal(silent.routes.filter((one) => one.startsWith("+")).length, 1 + 3);
  silent.assertEmpty();
});

Deno.test("while the way back is interrupted nobody is given up, and no timer spins", () => {
  const bench = new Bench();
  bench.table.wayBackWorks = false;
  bench.client({ flags: "S", at: -1 });
  bench.turn();
  bench.wait(100_000);
  assert.equal(bench.outcomes(), "");
  bench.table.wayBackWorks = true;
  const routes: number[] = [];
  assert.equal(bench.table.routePlaces, 1);
  assert.equal(bench.table.visitRoute(0, (_address, port) => routes.push(port) > 1), false);
  assert.deepEqual(routes, [CLIENT_PORT]);
  bench.table.kickAll(bench.nowMs);
  assert.deepEqual(bench.turn(), ["S@-1"]);
  bench.accept();
  assert.deepEqual(bench.turn(), ["A@0"]);
});

Deno.test("a tunnel that comes and goes does not set the pace of what is sent again", () => {
  const bench = new Bench();
  bench.client({ flags: "S", at: -1 });
  assert.deepEqual(bench.turn(), ["S@-1"]);
  const sent: string[] = [];
  for (let elapsedMs = 0; elapsedMs < 15_000; elapsedMs += 100) {
    bench.table.kickAll(bench.nowMs);
    sent.push(...bench.turn(), ...bench.wait(100));
  }
  // At 1, 3, 7 and 15 s without the tunnel's help; it hurries them once, to nothing here.
  assert.ok(sent.length >= 3 && sent.length <= 5, sent.join());
  bench.accept();
  bench.turn();
  bench.client({ flags: "A" });
  bench.client({ flags: "PA", text: "one" });
  assert.deepEqual(bench.turn(), ["PA@0 one"]);
  bench.wait(3000);
  // Something was heard since the last time.
  bench.table.kickAll(bench.nowMs);
  assert.deepEqual(bench.turn(), ["PA@0 one"]);
});

Deno.test("after an outage sessions do not send all at once", () => {
  const bench = new Bench();
  const count = 500;
  for (let i = 0; i < count; i++) {
    bench.client({ flags: "S", at: -1, sourcePort: 10_000 + i });
  }
  assert.equal(bench.turn().length, count);
  bench.table.wayBackWorks = false;
  bench.wait(4000);
  bench.table.wayBackWorks = true;
  bench.table.kickAll(bench.nowMs);
  const first = bench.turn().length;
  assert.ok(first > 0 && first <= 20, `${first} at once`);
  assert.equal(bench.wait(count / 20).length, count - first);
});

Deno.test("the route of a target that owes an answer is announced again", () => {
  const bench = new Bench();
  bench.open();
  bench.client({ flags: "PA", text: "one" });
  bench.client({ flags: "PA", at: 3, read: 100, text: "two" });
  bench.turn();
  bench.target({ flags: "A", ack: 3 });
  bench.turn();
  bench.routes.length = 0;
  bench.wait(900);
  assert.equal(bench.routes.length, 0);
  bench.wait(3500); // after 1, 2 and 4 s of silence
  assert.equal(bench.routes.length, 3);
  assert.equal(new Set(bench.routes).size, 1);
  assert.ok(bench.routes[0].startsWith("+"));
  bench.target({ flags: "PA", ack: 3, length: 100 });
  assert.ok(bench.turn().some((one) => one.includes("two")));
});

Deno.test("a captured gap is waited for, then the session ends as such", () => {
  const bench = new Bench();
  bench.open();
  bench.client({ flags: "PA", text: "one" });
  bench.client({ flags: "PA", at: 10, text: "later" });
  bench.turn();
  bench.target({ flags: "A", ack: 3 });
  bench.turn();
  assert.deepEqual(bench.wait(6000), ["5000: RA@3"]);
  assert.equal(bench.outcomes(), "capture gap");
  bench.assertEmpty();
});

Deno.test("what clients sent and nobody could replay is known, as far as it was seen", () => {
  const gap = new Bench();
  gap.open();
  gap.client({ flags: "PA", text: "0123456789" });
  gap.turn();
  gap.target({ flags: "A", ack: 10 });
  gap.turn();
  // Ten bytes are missing, five of those behind them are captured; more comes while it is given up.
  gap.client({ flags: "PA", at: 20, text: "01234" });
  gap.wait(6000);
  assert.equal(gap.outcomes(), "capture gap");
  assert.deepEqual(
    [gap.table.counters.acknowledgedBytes, gap.table.counters.unreplayedBytes],
    [10, 15],
  );
  gap.client({ flags: "PA", at: 25, text: "01234" });
  assert.equal(gap.table.counters.unreplayedBytes, 20);
  gap.assertEmpty();

  const shed = new Bench({ maxSessions: 0 });
  shed.client({ flags: "S", at: -1 });
  shed.client({ flags: "PA", text: "0123456789" });
  shed.turn();
  assert.equal(shed.outcomes(), "shed");
  assert.equal(shed.table.counters.unreplayedBytes, 10);

  const whole = new Bench();
  whole.open();
  whole.client({ flags: "PA", text: "0123456789" });
  whole.turn();
  whole.target({ flags: "A", ack: 10 });
  whole.client({ flags: "FPA", at: 0, text: "0123456789" });
  whole.turn();
  whole.target({ flags: "FA", ack: 11 });
  whole.turn();
  whole.client({ flags: "FPA", at: 0, text: "0123456789" }); // sent again
  assert.equal(whole.outcomes(), "complete");
  assert.equal(whole.table.counters.unreplayedBytes, 0);
});

Deno.test("a client that comes back from the same port gets another one", () => {
  const bench = new Bench();
  bench.open();
  bench.client({ flags: "PA", text: "one" });
  bench.turn();
  bench.client({ flags: "S", at: 500_000 });
  assert.deepEqual(bench.turn(), ["S@-1"]);
  assert.notEqual(bench.port, CLIENT_PORT);
  assert.equal(bench.table.counters.movedPorts, 1);
  assert.equal(bench.table.openSessions, 2);
  // The same SYN again is no third connection.
  bench.client({ flags: "S", at: 500_000 });
  bench.turn();
  assert.equal(bench.table.ledger.seen, 2);
  bench.port = CLIENT_PORT;
  bench.accept();
  bench.table.abortAll(bench.nowMs);
  assert.equal(bench.outcomes(), "open at exit, open at exit");
  bench.assertEmpty();
});

Deno.test("after its end a connection still answers as TIME-WAIT does", () => {
  const bench = new Bench();
  bench.open();
  bench.client({ flags: "FA" });
  bench.turn();
  bench.target({ flags: "FA", ack: 1 });
  bench.turn();
  assert.equal(bench.outcomes(), "complete");
  bench.target({ flags: "FA", ack: 1, timestamps: { value: 55, echo: 1 } });
  const [ack] = bench.sink.take();
  assert.deepEqual(
    [ack.flags, ack.acknowledgment, ack.options.tsecr],
    ["A", (TARGET_ISS + 2) | 0, 55],
  );
  bench.target({ flags: "PA", at: 1, ack: 1, length: 10 });
  assert.deepEqual(bench.turn(), ["R@1"]);
  bench.target({ flags: "R", at: 1 });
  bench.target({ flags: "A", at: 1, ack: 1 });
  assert.deepEqual(bench.turn(), []);
  bench.assertEmpty();
  bench.target({ flags: "FA", ack: 1 });
  assert.equal(bench.table.counters.strayResponses, 1);
});

Deno.test("a four-tuple that ends again is remembered from its latest end on", () => {
  // There is one port: the same connection comes again while the target may still hold it.
  const bench = new Bench({ portClass: CLIENT_PORT, portClasses: 65_536 });
  const endAfter = (position: number) => {
    bench.client({ flags: "FA", at: position });
    bench.turn();
    bench.target({ flags: "FA", ack: 1 });
    bench.turn();
  };
  bench.open();
  endAfter(0);
  bench.wait(3000);
  bench.client({ flags: "S", at: 500_000 });
  bench.turn();
  assert.equal(bench.port, CLIENT_PORT);
  bench.accept();
  bench.turn();
  endAfter(500_001);
  assert.equal(bench.outcomes(), "complete, complete");
  bench.wait(DEFAULT_SESSION_CONFIG.recentlyClosedMs - 3000 + 100); // the first has been over for so long
  assert.equal(bench.table.knownFlows, 2);
  bench.target({ flags: "FA", ack: 1 });
  assert.deepEqual(bench.turn(), ["A@1"]);
  assert.equal(bench.table.counters.strayResponses, 0);
  bench.wait(3000);
  bench.assertEmpty();
});

Deno.test("asking whether an answer is whole books nothing, however often it is asked", () => {
  const bench = new Bench();
  const turns = 64;
  bench.open();
  for (let turn = 0; turn < turns; turn++) {
    bench.client({ flags: "PA", at: turn, read: 10 * turn, text: "q" });
    bench.turn();
    bench.target({ flags: "PA", at: 10 * turn, ack: turn + 1, length: turn < turns - 1 ? 10 : 4 });
    bench.turn();
  }
  const rhythm = bench.table.rhythmOf(0);
  assert.equal(rhythm.lengthsAgree, true);
  // The last answer is short as yet; the client, which has read all of it online, goes on.
  bench.client({ flags: "PA", at: turns, read: 10 * turns, text: "q" });
  for (let i = 0; i < 1000; i++) {
    bench.client({ flags: "A", at: turns + 1, read: 10 * turns });
    bench.turn();
  }
  assert.equal(rhythm.lengthsAgree, true);
  const { turns: released, otherLengths, unanswered } = bench.table.counters;
  assert.deepEqual([released, otherLengths, unanswered], [turns, 0, 0]);
});

Deno.test("requests released and answered are counted", () => {
  const bench = new Bench({ answerTimeoutMs: 1000 });
  const counts = () => [bench.table.counters.turns, bench.table.counters.answeredTurns];
  bench.open();
  bench.client({ flags: "PA", text: "q" });
  bench.turn();
  assert.deepEqual(counts(), [1, 0]);
  bench.target({ flags: "PA", ack: 1, length: 4 });
  bench.target({ flags: "PA", at: 4, ack: 1, length: 6 });
  bench.turn();
  assert.deepEqual(counts(), [1, 1]);
  // To the second the target says nothing; the third goes all the same, and is answered.
  bench.client({ flags: "PA", at: 1, read: 10, text: "q" });
  bench.turn();
  bench.target({ flags: "A", at: 10, ack: 2 });
  bench.client({ flags: "PA", at: 2, read: 20, text: "q" });
  bench.wait(3000);
  assert.deepEqual(counts(), [3, 1]);
  bench.target({ flags: "PA", at: 10, ack: 3, length: 10 });
  bench.turn();
  assert.deepEqual(counts(), [3, 2]);
});

Deno.test("without waiting, requests are answered in order", () => {
  const bench = new Bench({ waitForAnswers: false });
  bench.open();
  for (let i = 0; i < 4; i++) bench.client({ flags: "PA", at: i, read: 10 * i, text: "q" });
  bench.turn();
  bench.target({ flags: "PA", ack: 4, length: 40 });
  bench.turn();
  const { turns, answeredTurns } = bench.table.counters;
  assert.deepEqual([turns, answeredTurns], [4, 4]);
});

Deno.test("when the capture stops, the answers still due are waited for", () => {
  const bench = new Bench();
  bench.open();
  bench.client({ flags: "PA", text: "one" });
  bench.turn();
  bench.table.stopCapture();
  assert.deepEqual(bench.turn(), []);
  bench.target({ flags: "PA", ack: 3, length: 10 });
  bench.turn();
  assert.ok(bench.wait(300).some((one) => one.endsWith("FA@3")));

  const silent = new Bench();
  silent.open();
  silent.client({ flags: "PA", text: "one" });
  silent.turn();
  silent.target({ flags: "A", ack: 3 });
  silent.table.stopCapture();
  silent.turn();
  assert.equal(silent.wait(6000)[0], "5000: FA@3");
});

Deno.test("a session in which nothing happens any more ends", () => {
  const bench = new Bench({ sessionTimeoutMs: 60_000 });
  bench.open();
  bench.client({ flags: "PA", text: "one" });
  bench.turn();
  bench.target({ flags: "A", ack: 3 });
  bench.turn();
  assert.deepEqual(bench.wait(70_000), ["60000: RA@3"]);
  assert.equal(bench.outcomes(), "timed out");
  bench.assertEmpty();
});

Deno.test("a session that rests between two requests may do so longer", () => {
  for (const isAnswered of [true, false]) {
    const bench = new Bench({ sessionTimeoutMs: 60_000, keepAliveTimeoutMs: 200_000 });
    bench.open();
    bench.client({ flags: "PA", text: "one" });
    bench.turn();
    bench.target({ flags: "A", ack: 3 });
    // The client has read an answer: while the target owes it, the session does not rest.
    if (!isAnswered) bench.client({ flags: "A", at: 3, read: 9 });
    bench.turn();
    bench.wait(70_000);
    assert.equal(bench.outcomes(), isAnswered ? "" : "timed out");
    bench.wait(140_000);
    assert.equal(bench.outcomes(), "timed out");
  }
});

Deno.test("a session of a target behind an address translation is found by its client", () => {
  for (const anyTargetAddress of [true, false]) {
    const bench = new Bench({ anyTargetAddress });
    bench.client({ flags: "S", at: -1 });
    bench.turn();
    bench.target({ flags: "SA", at: -1, ack: 0, source: 0x0a090909 });
    assert.equal(bench.turn().length, anyTargetAddress ? 1 : 0);
    bench.table.abortAll(bench.nowMs);
  }
});

Deno.test("copies have ports of their own", () => {
  const bench = new Bench({ copies: 3 });
  bench.client({ flags: "S", at: -1 });
  bench.table.flush(bench.nowMs);
  const ports = bench.sink.take().map(({ sourcePort }) => sourcePort);
  assert.equal(new Set(ports).size, 3);
  assert.equal(ports.includes(CLIENT_PORT), true);
  bench.table.abortAll(bench.nowMs);
  bench.assertEmpty();
});

Deno.test("above the limits sessions are shed, and booked", () => {
  const bench = new Bench({ maxSessions: 1 });
  bench.open();
  bench.client({ flags: "S", at: -1, sourcePort: 41_000 });
  bench.client({ flags: "PA", at: 0, sourcePort: 41_000, text: "one" });
  bench.client({ flags: "PA", at: 3, read: 9, sourcePort: 41_000, text: "two" });
  assert.deepEqual(bench.turn(), []);
  assert.equal(bench.outcomes(), "shed");
  assert.equal(bench.table.ledger.seen, 2);
});

Deno.test("sampling leaves whole connections out", () => {
  const bench = new Bench({ percentage: 30, sampleConnections: true });
  for (let port = 20_000; port < 21_000; port++) {
    bench.client({ flags: "S", at: -1, sourcePort: port });
    bench.client({ flags: "PA", sourcePort: port, text: "one" });
    bench.client({ flags: "PA", at: 3, read: 9, sourcePort: port, text: "two" });
  }
  const { counters, ledger } = bench.table;
  assert.equal(ledger.seen + counters.sampledOut, 1000);
  assert.ok(ledger.seen > 230 && ledger.seen < 370, `${ledger.seen}`);
  assert.deepEqual([counters.drawnFrom, counters.drawn], [1000, ledger.seen]);
  assert.equal(Math.round(counters.drawnExpected), 300);
  // A SYN that is sent again is not drawn again.
  for (let i = 0; i < 3; i++) bench.packet({ flags: "S", at: -1, sourcePort: 30_000 });
  assert.equal(counters.drawnFrom, 1001);
});
