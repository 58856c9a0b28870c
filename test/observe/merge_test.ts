import assert from "node:assert/strict";
import { mergeFigures } from "../../src/observe/merge.ts";
import { formatLedger, type ReplayFigures } from "../../src/observe/report.ts";
import { SessionCounters } from "../../src/session/counters.ts";
import { Delays } from "../../src/session/delays.ts";
import { Ledger, Outcome } from "../../src/session/ledger.ts";

const usage = { cpuMs: 0, elapsedMs: 0, residentBytes: 0, maxResidentBytes: 0 };

function figures(seen: number, complete: number, refused: number): ReplayFigures {
  const ledger = new Ledger();
  ledger.seen = seen;
  ledger.ended[Outcome.Complete] = complete;
  ledger.ended[Outcome.Refused] = refused;
  const counters = new SessionCounters();
  counters.capturedBytes = 100 * seen;
  counters.retransmits = refused;
  const delays = new Delays();
  for (let i = 0; i < seen; i++) delays.note(refused);
  return {
    ...{ ledger, counters, delays, captured: 10 * seen, captureDropped: 1, injected: 5 * seen },
    overIpv6: complete,
    unusable: new Map([["that are malformed", seen]]),
    injectErrors: new Map(refused > 0 ? [["EPERM", refused]] : []),
  };
}

Deno.test("figures of several parts are added up, also when they come from other threads", () => {
  const parts = [figures(3, 2, 0), figures(4, 1, 3)];
  for (const given of [parts, structuredClone(parts)]) {
    const whole = mergeFigures(given);
    assert.equal(whole.ledger.seen, 7);
    assert.equal(whole.ledger.open, 1);
    assert.equal(whole.ledger.allComplete, false);
    assert.equal(whole.counters.capturedBytes, 700);
    assert.equal(whole.counters.retransmits, 3);
    assert.deepEqual([whole.delays.total, whole.delays.quantileMs(0.4), whole.delays.maxMs], [
      7,
      0,
      3,
    ]);
    assert.deepEqual([whole.captured, whole.captureDropped, whole.injected], [70, 2, 35]);
    assert.equal(whole.overIpv6, 3);
    assert.match(formatLedger(whole, usage), /3 connections over IPv6, which is not replayed/);
    assert.deepEqual([...whole.unusable], [["that are malformed", 7]]);
    assert.deepEqual([...whole.injectErrors], [["EPERM", 3]]);
    assert.match(formatLedger(whole, usage), /sessions +7\n +open +1\n +complete +3\n +refused +3/);
  }
  assert.equal(parts[0].ledger.seen, 3);
});

Deno.test("nothing adds up to nothing", () => {
  const whole = mergeFigures([]);
  assert.deepEqual([whole.ledger.seen, whole.captured, whole.unusable.size], [0, 0, 0]);
});
