import assert from "node:assert/strict";
import fc from "fast-check";
import { ConnectionMap } from "../../src/tunnel/connection_map.ts";

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
  );
  fc.assert(fc.property(fc.array(step, { maxLength: 150 }), fc.integer(), (steps, seed) => {
    const table = new ConnectionMap(seed);
    const model = new Map<string, number>();
    for (const step of steps) {
      if (step.act === "set") {
        assert.equal(table.set(...step.key, step.value), model.get(step.key.join()) ?? 0);
        model.set(step.key.join(), step.value);
      } else if (step.act === "remove") {
        assert.equal(table.remove(...step.key), model.get(step.key.join()) ?? 0);
        model.delete(step.key.join());
      } else {
        assert.equal(table.get(...step.key), model.get(step.key.join()) ?? 0);
      }
      assert.equal(table.size, model.size);
    }
  }));
});

Deno.test("the table does what a Map does when it is nearly full", () => {
  const table = new ConnectionMap(99);
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
      assert.equal(table.set(7, port, 8, 80, port + 1), model.get(port) ?? 0);
      model.set(port, port + 1);
    } else {
      assert.equal(table.remove(7, port, 8, 80), model.get(port) ?? 0);
      model.delete(port);
    }
  }
  for (let port = 0; port < 1100; port++) {
    assert.equal(table.get(7, port, 8, 80), model.get(port) ?? 0);
  }
  assert.equal(table.size, model.size);
});

Deno.test("many entries come and go, and every one stays reachable", () => {
  const table = new ConnectionMap(12345);
  const keyOf = (i: number): Key => [0x0a000000 | (i % 7), i & 0xffff, 0x0b000000, 80 + (i >> 16)];
  const count = 50_000;
  for (let i = 0; i < count; i++) table.set(...keyOf(i), 1 + (i % 3));
  assert.equal(table.size, count);
  for (let i = 0; i < count; i += 2) table.remove(...keyOf(i));
  for (let i = 0; i < count; i++) {
    assert.equal(table.get(...keyOf(i)), i % 2 === 0 ? 0 : 1 + (i % 3));
  }
  assert.equal(table.size, count / 2);
});
