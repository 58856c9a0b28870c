import assert from "node:assert/strict";
import { mergeFigures } from "../../src/observe/merge.ts";
import type { Usage } from "../../src/observe/process_usage.ts";
import {
  acknowledgedShare,
  formatLedger,
  type ReplayFigures,
  summarize,
} from "../../src/observe/report.ts";
import { SessionCounters } from "../../src/session/counters.ts";
import { Outcome } from "../../src/session/ledger.ts";

function figures(counters: Partial<SessionCounters>, change: Partial<ReplayFigures> = {}) {
  const whole = mergeFigures([]);
  Object.assign(whole.counters, counters);
  return Object.assign(whole, change);
}

const usage: Usage = {
  cpuMs: 1500,
  elapsedMs: 30_000,
  residentBytes: 88 << 20,
  maxResidentBytes: 93 << 20,
};

/** The line of the ledger that begins so. */
function line(figures: ReplayFigures, name: string): string | undefined {
  const found = formatLedger(figures, usage).split("\n").find((one) => one.startsWith(name));
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

Deno.test("requests released and answered, CPU and memory stand in the log and in the ledger", () => {
  const one = figures({ turns: 3000, answeredTurns: 2998 });
  const text = summarize(one, usage);
  assert.match(text, /; requests 3,000, 2,998 of them answered;/);
  assert.match(text, /CPU 5\.0 % of a core, memory 88 MB/);
  assert.equal(line(one, "requests"), "3,000, 2,998 of them answered");
  assert.equal(line(one, "cpu"), "1.5 s, 5.0 % of a core");
  assert.equal(line(one, "memory"), "88 MB, at most 93 MB");
  assert.equal(line(figures({}), "requests"), "0");
});
