import assert from "node:assert/strict";
import { mergeFigures } from "../../src/observe/merge.ts";
import { acknowledgedShare, formatLedger, type ReplayFigures } from "../../src/observe/report.ts";
import { SessionCounters } from "../../src/session/counters.ts";
import { Outcome } from "../../src/session/ledger.ts";

function figures(counters: Partial<SessionCounters>, change: Partial<ReplayFigures> = {}) {
  const whole = mergeFigures([]);
  Object.assign(whole.counters, counters);
  return Object.assign(whole, change);
}

/** The line of the ledger that begins so. */
function line(figures: ReplayFigures, name: string): string | undefined {
  const found = formatLedger(figures).split("\n").find((one) => one.startsWith(name));
  return found?.slice(name.length).trim();
}

const acknowledged = (one: ReplayFigures) => line(one, "bytes acknowledged");

Deno.test("the share of bytes acknowledged is of what clients sent, as far as known", () => {
  assert.equal(acknowledged(figures({})), "0");
  const all = figures({ capturedBytes: 1000, acknowledgedBytes: 1000 });
  assert.equal(acknowledged(all), "1,000 (100 %)");
  const half = figures({ capturedBytes: 1000, acknowledgedBytes: 1000, unreplayedBytes: 1000 });
  assert.equal(acknowledged(half), "1,000 (50 % of the 2,000 that clients sent)");
  assert.equal(acknowledgedShare(half), "50 %");
});

Deno.test("where the capture has missed packets, nobody knows all that was sent", () => {
  const counters = { capturedBytes: 1000, acknowledgedBytes: 1000, unreplayedBytes: 3000 };
  const gap = figures(counters);
  gap.ledger.seen = 1;
  gap.ledger.ended[Outcome.CaptureGap] = 1;
  assert.equal(acknowledged(gap), "1,000 (25 % of at least 4,000 that clients sent)");
  const dropped = figures({ ...counters, unreplayedBytes: 0 }, { captureDropped: 7 });
  assert.equal(acknowledged(dropped), "1,000 (100 % of at least 1,000 that clients sent)");
});
