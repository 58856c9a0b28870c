import assert from "node:assert/strict";
import fc from "fast-check";
import { ClientSample, type SamplingRules } from "../../src/session/client_sample.ts";

const all: SamplingRules = {
  percentage: 100,
  percentageRampMs: 0,
  sampleConnections: false,
  includeClients: new Int32Array(0),
  excludeClients: new Int32Array(0),
};
const network = (address: number, mask: number) => Int32Array.of(address, mask);
const share = (rules: SamplingRules, nowMs = 0, sample = new ClientSample(rules)) => {
  let count = 0;
  for (let i = 0; i < 20_000; i++) if (sample.admits(0x0a000000 + i * 7, i, nowMs)) count++;
  return count / 200;
};

Deno.test("the share of the clients is about what was asked for", () => {
  for (const percentage of [1, 10, 50, 90, 100]) {
    const got = share({ ...all, percentage });
    assert.ok(Math.abs(got - percentage) <= 2, `${percentage}: ${got}`);
  }
});

Deno.test("a client is in or out with all its connections, and stays in at a larger share", () => {
  const client = fc.integer();
  const port = fc.integer({ min: 1, max: 65535 });
  const percentage = fc.integer({ min: 1, max: 99 });
  fc.assert(fc.property(client, port, port, percentage, (address, one, other, percentage) => {
    const sample = new ClientSample({ ...all, percentage });
    const admits = sample.admits(address, one, 0);
    assert.equal(sample.admits(address, other, 0), admits);
    assert.equal(new ClientSample({ ...all, percentage }).admits(address, other, 9), admits);
    const larger = new ClientSample({ ...all, percentage: percentage + 1 });
    if (admits) assert.ok(larger.admits(address, one, 0));
  }));
});

Deno.test("by connection, the share holds for a single client too", () => {
  const sample = new ClientSample({ ...all, percentage: 30, sampleConnections: true });
  let count = 0;
  for (let port = 1024; port < 11_024; port++) if (sample.admits(7, port, 0)) count++;
  assert.ok(Math.abs(count - 3000) < 200, `${count}`);
});

Deno.test("a ramp begins with a hundredth and grows to the whole", () => {
  const rules = { ...all, percentage: 50, percentageRampMs: 100_000 };
  const sample = new ClientSample(rules);
  sample.admits(1, 1, 5000); // the clock begins here
  assert.equal(sample.percentageAt(5000), 0.5);
  assert.equal(sample.percentageAt(55_000), 25);
  assert.equal(sample.percentageAt(105_000), 50);
  assert.equal(sample.percentageAt(999_999), 50);
  assert.ok(Math.abs(share(rules, 55_000, sample) - 25) <= 2);
});

Deno.test("lists: only the included, and of these not the excluded; the rules may change", () => {
  const rules = {
    ...all,
    includeClients: network(0x0a000000, 0xff000000 | 0),
    excludeClients: network(0x0a000005, -1),
  };
  const sample = new ClientSample(rules);
  assert.equal(sample.admits(0x0a000001, 1, 0), true);
  assert.equal(sample.admits(0x0a000005, 1, 0), false);
  assert.equal(sample.admits(0x0b000001, 1, 0), false);
  rules.includeClients = new Int32Array(0);
  assert.equal(sample.admits(0x0b000001, 1, 0), true);
});
