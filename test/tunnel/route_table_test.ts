import assert from "node:assert/strict";
import fc from "fast-check";
import { RouteTable } from "../../src/tunnel/route_table.ts";

type Key = [client: number, clientPort: number, target: number, targetPort: number];

/** Few different keys, so that they meet again; all corners of the number ranges. */
const key: fc.Arbitrary<Key> = fc.tuple(
  fc.constantFrom(0, 1, -1, 0x7fffffff, -0x80000000),
  fc.constantFrom(0, 1, 32768, 65535, 40000, 40001),
  fc.constantFrom(0, -1, 0x0a000001),
  fc.constantFrom(80, 65535),
);

Deno.test("the table does what a Map does", () => {
  const step = fc.oneof(
    fc.record({ act: fc.constant("set" as const), key, value: fc.integer({ min: 1, max: 4 }) }),
    fc.record({ act: fc.constant("remove" as const), key }),
    fc.record({ act: fc.constant("get" as const), key }),
    fc.record({ act: fc.constant("removeValue" as const), value: fc.integer({ min: 1, max: 4 }) }),
  );
  fc.assert(fc.property(fc.array(step, { maxLength: 150 }), fc.integer(), (steps, seed) => {
    const table = new RouteTable(10_000, seed);
    const model = new Map<string, number>();
    for (const step of steps) {
      if (step.act === "set") {
        assert.equal(table.set(...step.key, step.value, 0), model.get(step.key.join()) ?? 0);
        model.set(step.key.join(), step.value);
      } else if (step.act === "remove") {
        assert.equal(table.remove(...step.key), model.get(step.key.join()) ?? 0);
        model.delete(step.key.join());
      } else if (step.act === "get") {
        assert.equal(table.get(...step.key, 0), model.get(step.key.join()) ?? 0);
      } else {
        const keys = [...model].filter(([, value]) => value === step.value).map(([name]) => name);
        assert.equal(table.removeValue(step.value), keys.length);
        for (const name of keys) model.delete(name);
      }
      assert.equal(table.size, model.size);
    }
  }));
});

Deno.test("the table does what a Map does when it is nearly full", () => {
  const table = new RouteTable(1 << 20, 99);
  const model = new Map<number, number>();
  let state = 1;
  const random = (below: number) => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return (state >>> 8) % below;
  };
  // 767 of 1024 slots is the most before the table grows.
  for (let i = 0; i < 60_000; i++) {
    const port = random(1100);
    if (model.size < 765 && random(100) < 75) {
      assert.equal(table.set(7, port, 8, 80, port + 1, 0), model.get(port) ?? 0);
      model.set(port, port + 1);
    } else {
      assert.equal(table.remove(7, port, 8, 80), model.get(port) ?? 0);
      model.delete(port);
    }
  }
  for (let port = 0; port < 1100; port++) {
    assert.equal(table.get(7, port, 8, 80, 0), model.get(port) ?? 0);
  }
  assert.equal(table.size, model.size);
});

Deno.test("many entries come and go, and every one stays reachable", () => {
  const table = new RouteTable(1 << 20, 12345);
  const keyOf = (i: number): Key => [0x0a000000 | (i % 7), i & 0xffff, 0x0b000000, 80 + (i >> 16)];
  const count = 50_000;
  for (let i = 0; i < count; i++) table.set(...keyOf(i), 1 + (i % 3), 0);
  assert.equal(table.size, count);
  for (let i = 0; i < count; i += 2) table.remove(...keyOf(i));
  for (let i = 0; i < count; i++) {
    assert.equal(table.get(...keyOf(i), 0), i % 2 === 0 ? 0 : 1 + (i % 3));
  }
  const ones = table.removeValue(1);
  for (let i = 1; i < count; i += 2) {
    assert.equal(table.get(...keyOf(i), 0), i % 3 === 0 ? 0 : 1 + (i % 3));
  }
  assert.equal(table.size + ones, count / 2);
  assert.equal(table.evicted, 0);
});

Deno.test("a full table lets go of what has long not been used", () => {
  const table = new RouteTable(1000, 1);
  for (let i = 0; i < 1000; i++) table.set(1, i, 2, 80, 1, i < 500 ? 0 : 1000);
  for (let i = 1000; i < 1200; i++) table.set(1, i, 2, 80, 1, 2000);
  assert.equal(table.size, 1000);
  assert.equal(table.evicted, 200);
  let oldLost = 0;
  for (let i = 0; i < 500; i++) if (table.get(1, i, 2, 80, 0) === 0) oldLost++;
  for (let i = 1000; i < 1200; i++) assert.equal(table.get(1, i, 2, 80, 0), 1, "a new one is lost");
  assert.ok(oldLost > 180, `only ${oldLost} of the 200 lost ones were old`);
});

Deno.test("use protects an entry, also when the clock has passed 2^31", () => {
  const table = new RouteTable(100, 7);
  const late = (ms: number) => (0x7ffffff0 + ms) | 0;
  for (let i = 0; i < 100; i++) table.set(1, i, 2, 80, 1, late(0));
  for (let i = 100; i < 1000; i++) {
    table.get(1, 0, 2, 80, late(i));
    table.set(1, i, 2, 80, 1, late(i));
  }
  assert.equal(table.get(1, 0, 2, 80, 0), 1);
});
