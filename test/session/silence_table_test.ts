import assert from "node:assert/strict";
import { SilenceCounts, SilenceTable } from "../../src/session/silence_table.ts";

/** Waits for one chance in five hundred per ms. */
const PATIENT = 0.002;
const CAUTION_MS = 64;

function waitAfter(ends: number, watchedMs: number): number {
  const table = new SilenceTable(0.1);
  for (let i = 0; i < ends; i++) table.noteEnded(watchedMs);
  return table.waitMs(PATIENT, CAUTION_MS);
}

Deno.test("at first it waits, and with every end that was watched less, down to nothing", () => {
  const waits = [0, 1, 2, 4, 8, 16, 32, 64].map((ends) => waitAfter(ends, 100));
  assert.equal(waits[0], 96);
  assert.equal(waits.at(-1), 0);
  for (let i = 1; i < waits.length; i++) assert.ok(waits[i] <= waits[i - 1], String(waits));
});

Deno.test("what was watched for a short time says nothing of longer silences", () => {
  assert.ok(waitAfter(12, 2) > waitAfter(12, 100));
});

Deno.test("a target that goes on after 5 ms is waited for, a little longer than that", () => {
  const table = new SilenceTable(0.1);
  for (let i = 0; i < 50; i++) table.noteContinued(5);
  assert.ok(table.waitMs(PATIENT, CAUTION_MS) >= 64, "it has never ended here");
  for (let i = 0; i < 50; i++) table.noteEnded(100);
  const waitMs = table.waitMs(PATIENT, CAUTION_MS);
  assert.ok(waitMs >= 8 && waitMs <= 12, `${waitMs} ms`);
});

Deno.test("a chance is waited for as long as it is worth", () => {
  const table = new SilenceTable(0.1);
  for (let i = 0; i < 1000; i++) {
    if (i % 50 === 0) table.noteContinued(200); // one in fifty, after 200 ms
    else table.noteEnded(400);
  }
  assert.equal(table.waitMs(PATIENT, CAUTION_MS), 0);
  assert.equal(table.waitMs(PATIENT / 100, CAUTION_MS), 384);
  assert.equal(table.waitMs(Infinity, CAUTION_MS), 0);
});

Deno.test("ends that were never watched do not hide what follows", () => {
  const table = new SilenceTable(0.1);
  for (let i = 0; i < 1000; i++) table.noteEnded(0);
  assert.equal(table.waitMs(PATIENT, CAUTION_MS) > 0, true); // nothing was observed
  for (let i = 0; i < 20; i++) table.noteContinued(5);
  for (let i = 0; i < 1000; i++) table.noteEnded(0);
  assert.ok(table.waitMs(PATIENT, CAUTION_MS) >= 8);
});

Deno.test("the past is forgotten", () => {
  const table = new SilenceTable(0.1);
  for (let i = 0; i < 3000; i++) table.noteContinued(100);
  for (let i = 0; i < 40_000; i++) table.noteEnded(200);
  assert.equal(table.waitMs(PATIENT, CAUTION_MS), 0);
});

Deno.test("counts know the usual silence", () => {
  const counts = new SilenceCounts();
  for (let i = 0; i < 999; i++) counts.note(3);
  counts.note(5000);
  assert.equal(counts.quantileMs(0.99), 4);
  assert.equal(counts.quantileMs(1), 4096);
  for (let i = 0; i < 10_000; i++) counts.note(20);
  assert.equal(counts.quantileMs(0.5), 32);
  assert.ok(counts.total <= 2048);
});
