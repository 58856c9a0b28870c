import assert from "node:assert/strict";
import { ProcessUsage } from "../../src/observe/process_usage.ts";

Deno.test("CPU time and memory are those of the process, by line and in all", () => {
  const usage = new ProcessUsage();
  const untilMs = performance.now() + 50;
  let held = new Uint8Array(0);
  while (performance.now() < untilMs) held = new Uint8Array(64 << 20).fill(1);
  assert.equal(held.at(-1), 1);
  const first = usage.sinceLast();
  assert.ok(first.cpuMs > 0 && first.elapsedMs >= 50);
  assert.ok(first.residentBytes > 0 && first.maxResidentBytes >= first.residentBytes);
  const second = usage.sinceLast();
  const whole = usage.sinceStart();
  assert.ok(second.cpuMs <= whole.cpuMs && first.cpuMs + second.cpuMs <= whole.cpuMs);
  assert.ok(whole.elapsedMs >= first.elapsedMs + second.elapsedMs);
});
