import assert from "node:assert/strict";
import fc from "fast-check";
import { NO_ROUTE, RouteHolder, RouteTable } from "../../src/tunnel/route_table.ts";

type Key = [client: number, clientPort: number, target: number, targetPort: number];

const portKey = (port: number): Key => [7, port, 8, 80];

/** Ids of the holders that have a route for a connection, sorted. */
function holdersOf(table: RouteTable, key: Key): number[] {
  const ids: number[] = [];
  for (let route = table.find(...key); route !== NO_ROUTE; route = table.following(route)) {
    ids.push(table.holderOf(route));
  }
  return ids.sort();
}

function makeTable(maxRoutes: number, holders: readonly RouteHolder[]): RouteTable {
  return new RouteTable(
    maxRoutes,
    99,
    () => holders.reduce((most, holder) => holder.routes > most.routes ? holder : most),
  );
}

Deno.test("every holder has what it added and did not remove, whatever the others do", () => {
  const key: fc.Arbitrary<Key> = fc.tuple(
    fc.constantFrom(0, 1, -1, -0x80000000),
    fc.constantFrom(0, 32768, 65535),
    fc.constantFrom(0, -1),
    fc.constantFrom(80, 65535),
  );
  const who = fc.integer({ min: 1, max: 3 });
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ act: fc.constant("add" as const), who, key }) },
    { weight: 3, arbitrary: fc.record({ act: fc.constant("remove" as const), who, key }) },
    { weight: 1, arbitrary: fc.record({ act: fc.constant("leave" as const), who }) },
  );
  fc.assert(fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
    const holders = [1, 2, 3].map((id) => new RouteHolder(id));
    const table = makeTable(10_000, holders);
    const model = new Map<string, Set<number>>();
    const keys = new Map<string, Key>();
    for (const step of steps) {
      const holder = holders[step.who - 1];
      if (step.act === "leave") {
        table.removeAll(holder);
        for (const ids of model.values()) ids.delete(step.who);
        assert.deepEqual([holder.routes, holder.first, holder.last], [0, NO_ROUTE, NO_ROUTE]);
      } else {
        keys.set(step.key.join(), step.key);
        const ids = model.get(step.key.join()) ?? new Set();
        model.set(step.key.join(), ids);
        const had = ids.has(step.who);
        if (step.act === "add") {
          assert.equal(table.add(holder, ...step.key, 0), !had);
          ids.add(step.who);
        } else {
          assert.equal(table.remove(holder, ...step.key), had);
          ids.delete(step.who);
        }
      }
      const sizes = [1, 2, 3].map((id) => [...model.values()].filter((ids) => ids.has(id)).length);
      assert.deepEqual(holders.map(({ routes }) => routes), sizes);
      assert.equal(table.size, sizes[0] + sizes[1] + sizes[2]);
    }
    for (const [name, key] of keys) {
      assert.deepEqual(holdersOf(table, key), [...model.get(name)!].sort());
    }
  }));
});

Deno.test("the table grows, and what is free is used again", () => {
  const holder = new RouteHolder(1);
  const table = makeTable(1 << 20, [holder]);
  for (let round = 0; round < 3; round++) {
    for (let port = 0; port < 5000; port++) assert.ok(table.add(holder, ...portKey(port), 0));
    for (let port = 0; port < 5000; port++) assert.deepEqual(holdersOf(table, portKey(port)), [1]);
    table.removeAll(holder);
    assert.equal(table.size, 0);
    assert.equal(table.find(...portKey(77)), NO_ROUTE);
  }
});

Deno.test("a full table lets go of what has long not been used, and keeps what is new", () => {
  const holder = new RouteHolder(1);
  const table = makeTable(1000, [holder]);
  for (let i = 0; i < 1000; i++) table.add(holder, ...portKey(i), i < 500 ? 0 : 1000);
  for (let i = 1000; i < 1200; i++) table.add(holder, ...portKey(i), 2000);
  assert.deepEqual([table.size, table.evicted], [1000, 200]);
  const isThere = (port: number) => table.find(...portKey(port)) !== NO_ROUTE;
  const lost = Array.from({ length: 1200 }, (_, port) => port).filter((port) => !isThere(port));
  assert.equal(lost.length, 200);
  assert.ok(lost.every((port) => port < 500), `${lost.filter((port) => port >= 500)} are lost`);
});

Deno.test("use protects a route, also when the clock has passed 2^31", () => {
  const holder = new RouteHolder(1);
  const table = makeTable(100, [holder]);
  const late = (ms: number) => (0x7ffffff0 + ms) | 0;
  for (let i = 0; i < 100; i++) table.add(holder, ...portKey(i), late(0));
  for (let i = 100; i < 1000; i++) {
    table.use(table.find(...portKey(0)), late(i));
    table.add(holder, ...portKey(i), late(i));
  }
  assert.notEqual(table.find(...portKey(0)), NO_ROUTE);
});

Deno.test("who fills the table makes room for the others from its own", () => {
  const [greedy, modest] = [new RouteHolder(1), new RouteHolder(2)];
  const table = makeTable(1000, [greedy, modest]);
  for (let i = 0; i < 300; i++) table.add(modest, ...portKey(i), 0);
  for (let i = 1000; i < 5000; i++) table.add(greedy, ...portKey(i), 1);
  for (let i = 300; i < 400; i++) table.add(modest, ...portKey(i), 2);
  assert.deepEqual([modest.routes, greedy.routes], [400, 600]);
  for (let i = 0; i < 400; i++) assert.deepEqual(holdersOf(table, portKey(i)), [2]);
});
