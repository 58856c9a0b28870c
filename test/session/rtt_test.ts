import assert from "node:assert/strict";
import { MAX_RTO_MS, MIN_RTO_MS, RttEstimator } from "../../src/session/rtt.ts";

Deno.test("the time-out follows RFC 6298", () => {
  const rtt = new RttEstimator();
  assert.equal(rtt.timeoutMs, 1000);
  rtt.sample(100);
  assert.equal(rtt.timeoutMs, 100 + 4 * 50);
  for (let i = 0; i < 100; i++) rtt.sample(100);
  assert.equal(rtt.timeoutMs, MIN_RTO_MS);
  rtt.sample(900);
  assert.equal(rtt.smoothedMs, 200);
});

Deno.test("each back-off doubles the time-out up to a bound, a sample ends it", () => {
  const rtt = new RttEstimator();
  const seen: number[] = [];
  for (let i = 0; i < 8; i++) {
    seen.push(rtt.timeoutMs);
    rtt.backOff();
  }
  assert.deepEqual(seen, [1000, 2000, 4000, 8000, 16000, 32000, MAX_RTO_MS, MAX_RTO_MS]);
  for (let i = 0; i < 100; i++) rtt.backOff();
  assert.equal(rtt.timeoutMs, MAX_RTO_MS);
  rtt.sample(1);
  assert.equal(rtt.timeoutMs, MIN_RTO_MS);
});

Deno.test("a single segment in flight is given time for a delayed acknowledgement", () => {
  const rtt = new RttEstimator();
  rtt.sample(10);
  assert.ok(rtt.probeTimeoutMs(1) >= 2 * 10 + 40);
  assert.ok(rtt.probeTimeoutMs(5) < rtt.probeTimeoutMs(1));
  assert.ok(rtt.probeTimeoutMs(1) <= rtt.timeoutMs);
});
