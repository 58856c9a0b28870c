/** Unit tests of the ledger's reader, with ledgers as tcpcopy prints them. */

import assert from "node:assert/strict";
import { formatLedger } from "../../src/observe/report.ts";
import { SessionCounters } from "../../src/session/counters.ts";
import { Delays } from "../../src/session/delays.ts";
import { Ledger, Outcome } from "../../src/session/ledger.ts";
import { ledgerProblems, readLedger } from "./ledger_text.ts";

function printed(book: (ledger: Ledger) => void, counters = new SessionCounters()): string {
  const ledger = new Ledger();
  book(ledger);
  const ledgerText = formatLedger({
    delays: new Delays(),
    ledger,
    counters,
    captured: 12_345,
    captureDropped: 0,
    overIpv6: 0,
    unusable: new Map(),
    injected: 10_000,
    injectErrors: new Map(),
  }, { cpuMs: 1, elapsedMs: 2, residentBytes: 3, maxResidentBytes: 4 });
  return `ready\n${ledgerText}\n`;
}

Deno.test("a ledger reads back", () => {
  const counters = new SessionCounters();
  counters.joined = 3;
  counters.reconnects = 7;
  const text = printed((ledger) => {
    ledger.seen = 1002;
    ledger.ended[Outcome.Complete] = 1000;
    ledger.ended[Outcome.ResetByTarget] = 2;
  }, counters);
  const ledger = readLedger(text);
  assert.deepEqual(ledger, {
    sessions: 1002,
    outcomes: { "complete": 1000, "reset by target": 2 },
    troubles: ["7 reconnects"],
  });
  assert.deepEqual(ledgerProblems(ledger), ["2 reset by target"]);
});

Deno.test("sessions without an outcome are a problem", () => {
  const ledger = { sessions: 5, outcomes: { complete: 4 }, troubles: [] };
  assert.deepEqual(ledgerProblems(ledger), ["4 outcomes of 5 sessions"]);
});

Deno.test("all complete is no problem, and no ledger none", () => {
  const ledger = readLedger(printed((made) => made.seen = made.ended[Outcome.Complete] = 5));
  assert(ledger !== undefined);
  assert.deepEqual(ledgerProblems(ledger), []);
  assert.equal(readLedger("ready\nsessions are open\n"), undefined);
});
