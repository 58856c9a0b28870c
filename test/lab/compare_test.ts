/** Unit tests of the comparison: every way a replay can be wrong is told apart. */

import assert from "node:assert/strict";
import { compare } from "./compare.ts";
import {
  type ConnectionRecord,
  framesAt,
  NumberRuns,
  parseReport,
  type ServerReport,
} from "./report.ts";

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

const checks = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];

/** The frames from number `first` to `last`, read on a connection that the target closed. */
function piece(first: number, last: number, change: Partial<ConnectionRecord> = {}) {
  return record({
    bytes: 30 * (last + 1 - first),
    hash: `${first}`,
    frames: last + 1 - first,
    numbers: `${first}-${last}`,
    ending: "closed",
    frameChecks: checks.slice(first, last + 1),
    openedMs: first,
    ...change,
  });
}

/** What is wrong when the target's connections are these; `undefined`: nothing. */
function continuedProblem(...target: ConnectionRecord[]): string | undefined {
  const online = report(record({ frameChecks: checks }));
  const result = compare(online, report(...target), { continued: true });
  assert.equal(result.exact, result.mismatches.length === 0 ? 1 : 0);
  return result.mismatches[0];
}

Deno.test("where the target closes, its connections are read in order of opening", () => {
  assert.equal(continuedProblem(piece(5, 9, { ending: "fin" }), piece(0, 4)), undefined);
  assert.equal(continuedProblem(piece(0, 2), piece(3, 6), piece(7, 9)), undefined);
  assert.equal(continuedProblem(piece(0, 9)), undefined);
});

Deno.test("a part of a request that the target closed on may come again, whole", () => {
  const cut = piece(0, 4, { partialBytes: 12 });
  assert.equal(continuedProblem(cut, piece(5, 9)), undefined);
  assert.match(
    continuedProblem(cut, piece(5, 9, { ending: "fin", partialBytes: 12 })) ?? "",
    /a part/,
  );
});

Deno.test("what is missing, doubled, out of order or wrong on continued connections is said", () => {
  const problem = (...target: ConnectionRecord[]) => continuedProblem(...target) ?? "";
  assert.match(problem(piece(0, 4), piece(6, 9)), /once each, came requests 0-4,6-9 in 2 conn/);
  assert.match(problem(piece(0, 5), piece(5, 9)), /came requests 0-5,5-9 in 2/);
  assert.match(problem(piece(0, 4)), /came requests 0-4 in 1/);
  assert.match(
    problem(piece(5, 9, { openedMs: 0 }), piece(0, 4, { openedMs: 1 })),
    /request 0 is not the one online: requests 5-9,0-4/,
  );
  const changed = ["f", "g", "X", "i", "j"];
  assert.match(problem(piece(0, 4), piece(5, 9, { frameChecks: changed })), /request 7 is not/);
  assert.match(problem(piece(0, 4), piece(5, 9, { error: "byte 3: wrong" })), /byte 3: wrong/);
  assert.match(problem(piece(0, 4), piece(5, 9, { ids: [1, 2] })), /of connections 1, 2/);
  assert.match(problem(piece(0, 4), piece(5, 9, { ending: "rst" })), /ended with rst/);
  assert.match(problem(piece(0, 4, { ending: "fin" }), piece(5, 9)), /had not closed/);
});

Deno.test("connections are put together only where the target closes by itself", () => {
  const online = report(record({ frameChecks: checks }));
  const target = report(piece(0, 4), piece(5, 9, { ending: "fin" }));
  assert.match(compare(online, target).mismatches[0], /came in 2 connections/);
  const split = report(piece(0, 4, { ending: "fin" }), piece(5, 9, { ending: "fin" }));
  assert.match(compare(online, split, { continued: true }).mismatches[0], /came in 2 conn/);
});

Deno.test("a progress tells how many requests had come by a moment", () => {
  const { progress } = parseReport('{"kind":"progress","steps":[[10,1],[20,5],[35,6]]}\n');
  assert(progress !== undefined);
  assert.deepEqual([9, 10, 34, 99].map((ms) => framesAt(progress, ms)), [0, 1, 5, 6]);
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
