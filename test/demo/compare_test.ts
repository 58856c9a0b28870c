import assert from "node:assert/strict";
import type { ConnectionReport } from "./application.ts";
import { compare } from "./compare.ts";

function connection(id: string, changes: Partial<ConnectionReport> = {}): ConnectionReport {
  return { ids: [id], requests: 2, bytes: 100, hash: `hash ${id}`, ending: "fin", ...changes };
}

Deno.test("what arrived as it was sent is byte-exact", () => {
  const online = [connection("1"), connection("2")];
  const result = compare(online, [...online].reverse());
  assert.deepEqual(result, {
    requestsOnline: 4,
    requestsTarget: 4,
    connections: 2,
    exact: 2,
    problems: [],
  });
});

Deno.test("every way to be wrong is told", () => {
  const problemOf = (target: ConnectionReport[]) => compare([connection("1")], target).problems;
  assert.deepEqual(problemOf([]), ["connection 1: never reached the target"]);
  assert.deepEqual(problemOf([connection("1"), connection("1")]), [
    "connection 1: reached the target as 2 connections",
  ]);
  assert.deepEqual(problemOf([connection("1", { bytes: 99 })]), [
    "connection 1: 100 bytes online, 99 on the target",
  ]);
  assert.deepEqual(problemOf([connection("1", { hash: "other" })]), [
    "connection 1: the bytes differ",
  ]);
  assert.deepEqual(problemOf([connection("1", { ending: "rst" })]), [
    "connection 1: ended fin, on the target rst",
  ]);
  assert.deepEqual(problemOf([connection("1"), connection("9")]), [
    "connection 9: on the target only",
  ]);
});
