/** Connections whose session ended while their client went on: they are joined again. */

import assert from "node:assert/strict";
import { TimerWheel } from "../../src/loop/timer_wheel.ts";
import { DEFAULT_SESSION_CONFIG, type SessionConfig } from "../../src/session/config.ts";
import { Outcome } from "../../src/session/ledger.ts";
import { SessionTable } from "../../src/session/session_table.ts";
import { TransferMap } from "../../src/session/transfer.ts";
import {
  type Fields,
  fromClient,
  fromTarget,
  RecordingSink,
  TARGET,
  TARGET_PORT,
} from "./harness.ts";

const HOLD_MS = DEFAULT_SESSION_CONFIG.recentlyClosedMs;
const text = (string: string) => new TextEncoder().encode(string);

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

  /** The client sends; a SYN is followed by what completes the handshake. */
  client(fields: Fields): void {
    this.table.onCaptured(fromClient(fields), this.nowMs);
    if (fields.flags === "S") {
      const sequence = fields.sequence! + 1;
      this.table.onCaptured(fromClient({ flags: "A", sequence, acknowledgment: 5001 }), this.nowMs);
    }
    this.table.flush(this.nowMs);
  }

  /** The `number`th request of ten bytes, sent after ten bytes of answer to each before it. */
  request(number: number): void {
    this.client({
      flags: "PA",
      sequence: 1001 + 10 * number,
      acknowledgment: 5001 + 10 * number,
      payload: text(`request ${number} `),
    });
  }

  /** The target refuses the connection whose SYN was sent last. */
  refuse(): void {
    const syn = this.sink.take().at(-1)!;
    assert.equal(syn.flags, "S");
    const acknowledgment = (syn.sequence + 1) | 0;
    const packet = fromTarget({
      flags: "RA",
      acknowledgment,
      destination: syn.source,
      destinationPort: syn.sourcePort,
    });
    this.table.onResponse(packet, this.nowMs);
    this.table.flush(this.nowMs);
  }

  /** The target takes it. Returns what is sent then. */
  accept(): string {
    const syn = this.sink.take().at(-1)!;
    assert.equal(syn.flags, "S");
    const acknowledgment = (syn.sequence + 1) | 0;
    const packet = fromTarget({
      flags: "SA",
      sequence: 700,
      acknowledgment,
      destination: syn.source,
      destinationPort: syn.sourcePort,
    });
    this.table.onResponse(packet, this.nowMs);
    this.table.flush(this.nowMs);
    return this.sink.take().map(({ payload }) => new TextDecoder().decode(payload)).join("");
  }
}

Deno.test("a connection that the target refused is joined again a while later", () => {
  const world = new World();
  world.client({ flags: "S", sequence: 1000 });
  world.request(0);
  world.refuse();
  assert.equal(world.table.ledger.ended[Outcome.Refused], 1);
  for (let number = 1; number <= 4; number++) {
    world.nowMs += HOLD_MS / 5;
    world.request(number);
  }
  assert.equal(world.table.ledger.seen, 1, "not before its time");
  world.nowMs += HOLD_MS / 5;
  world.request(5);
  world.request(6);
  world.request(7);
  assert.equal(world.accept(), "request 7 ");
  assert.equal(world.table.ledger.seen, 2);
  assert.equal(world.table.ledger.open, 1);
  assert.equal(world.table.counters.joined, 1);
});

Deno.test("so is one that was shed", () => {
  const world = new World();
  world.table.shedding = true;
  world.client({ flags: "S", sequence: 1000 });
  assert.equal(world.table.ledger.ended[Outcome.Shed], 1);
  world.nowMs += HOLD_MS;
  world.request(0);
  world.table.shedding = false;
  world.request(1);
  world.request(2);
  assert.equal(world.accept(), "request 2 ");
});

Deno.test("so is one of which a packet was not captured", () => {
  const world = new World();
  world.client({ flags: "S", sequence: 1000 });
  world.accept();
  world.request(1); // request 0 is missing
  const { gapTimeoutMs, answerTimeoutMs } = DEFAULT_SESSION_CONFIG;
  for (let step = 0; step < 3; step++) {
    world.nowMs += gapTimeoutMs + answerTimeoutMs;
    world.table.onTimer(0);
    world.request(2 + step);
  }
  assert.equal(world.table.ledger.ended[Outcome.CaptureGap], 1);
  world.request(5);
  assert.equal(world.accept(), "request 5 ");
});

Deno.test("one whose client was through is not", () => {
  const world = new World();
  world.client({ flags: "S", sequence: 1000 });
  world.request(0);
  world.client({ flags: "FA", sequence: 1011, acknowledgment: 5011 });
  world.refuse();
  // Sent again, late: its end was not heard.
  for (let step = 0; step < 4; step++) {
    world.nowMs += HOLD_MS - 1;
    world.request(0);
  }
  assert.equal(world.table.ledger.seen, 1);
});
