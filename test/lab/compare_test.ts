/** Unit tests of the comparison: every way a replay can be wrong is told apart. */

import assert from "node:assert/strict";
import { compare } from "./compare.ts";
import { type ConnectionRecord, NumberRuns, parseReport, type ServerReport } from "./report.ts";

function record(change: Partial<ConnectionRecord> = {}): ConnectionRecord {
  return {
    kind: "connection",
    ids: [1],
    peer: "198.18.0.10:1000",
    bytes: 300,
    hash: "aa",
    frames: 10,
    numbers: "0-9",
    partialBytes: 0,
    ending: "fin",
    early: 0,
    earlyNumbers: [],
    openedMs: 0,
    closedMs: 1,
    ...change,
  };
}

function report(...connections: ConnectionRecord[]): ServerReport {
  return { connections, status: { kind: "status", open: 0, closed: 0, frames: 0, bytes: 0 } };
}

/** The lines for one connection that should have come as `record()`. */
function problems(...target: ConnectionRecord[]): string[] {
  const result = compare(report(record()), report(...target));
  assert.equal(result.exact, 0);
  return result.mismatches;
}

Deno.test("the same bytes with the same ending are exact", () => {
  const result = compare(
    report(record(), record({ ids: [2] })),
    report(record({ ids: [2] }), record()),
  );
  assert.equal(result.share, 1);
  assert.deepEqual(result.mismatches, []);
});

Deno.test("what differs is said", () => {
  assert.match(problems()[0], /never came/);
  assert.match(problems(record(), record())[0], /came in 2 connections/);
  assert.match(
    problems(record({ bytes: 200, numbers: "0-5" }))[0],
    /expected 300 bytes .* came 200/,
  );
  assert.match(problems(record({ hash: "bb" }))[0], /not the same/);
  assert.match(problems(record({ ending: "rst" }))[0], /ended with rst instead of fin/);
  assert.match(problems(record({ error: "byte 3: wrong" }))[0], /byte 3: wrong/);
});

Deno.test("bytes that belong to no connection are said", () => {
  const result = compare(report(record()), report(record(), record({ ids: [], error: "byte 0" })));
  assert.equal(result.exact, 1);
  assert.match(result.mismatches[0], /byte 0/);
});

Deno.test("a joined stream is one run of requests to the last, from the first due on", () => {
  const join = { firstDue: new Map([[1, 4]]) };
  const exact = (change: Partial<ConnectionRecord>) =>
    compare(report(record()), report(record({ hash: "bb", bytes: 100, ...change })), join).exact;
  assert.equal(exact({ numbers: "4-9" }), 1);
  assert.equal(exact({ numbers: "2-9" }), 1);
  assert.equal(exact({ numbers: "5-9" }), 0);
  assert.equal(exact({ numbers: "4-8" }), 0);
  assert.equal(exact({ numbers: "4-6,8-9" }), 0);
  assert.equal(exact({ numbers: "4-9,9" }), 0);
  assert.equal(exact({ numbers: "4-9", ending: "rst" }), 0);
});

Deno.test("a report reads back, without its unfinished last line", () => {
  const text = `${JSON.stringify(record())}\n{"kind":"status","open":1,"closed":2}\n{"kind":"conn`;
  const parsed = parseReport(text);
  assert.equal(parsed.connections.length, 1);
  assert.equal(parsed.status.closed, 2);
});

Deno.test("numbers are collected as runs", () => {
  const runs = new NumberRuns();
  for (const number of [0, 1, 2, 5, 5, 6, 3]) runs.add(number);
  assert.equal(runs.finish(), "0-2,5,5-6,3");
});
