import assert from "node:assert/strict";
import fc from "fast-check";
import { AddressPool, mix, RECENTLY_CLOSED } from "../../src/session/address_pool.ts";
import { FlowTable, flowWord } from "../../src/session/flow_table.ts";
import { partitionOf, WHOLE } from "../../src/wire/partition.ts";

Deno.test("the client's own address and port are kept while they are free", () => {
  const flows = new FlowTable();
  const pool = new AddressPool(new Int32Array(0), flows);
  assert.equal(pool.choose(7, 4000, 0, 2), true);
  assert.deepEqual([pool.address, pool.port], [7, 4000]);
  flows.set(7, flowWord(4000, 1), 5); // towards another target
  assert.equal(pool.choose(7, 4000, 0, 2), true);
  assert.equal(pool.port, 4000);
});

Deno.test("what is chosen is never in use, and lies on an allowed address", () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.integer({ min: 1, max: 50 }), { maxLength: 4 }),
      fc.array(
        fc.record({
          client: fc.integer({ min: 100, max: 103 }),
          port: fc.integer({ min: 1024, max: 1030 }),
          copy: fc.nat(2),
          closes: fc.boolean(),
        }),
        { maxLength: 60 },
      ),
      (addresses, wishes) => {
        const flows = new FlowTable();
        const pool = new AddressPool(Int32Array.from(addresses), flows);
        for (const { client, port, copy, closes } of wishes) {
          assert.equal(pool.choose(client, port, copy, 0), true);
          assert.ok(
            addresses.length === 0 ? pool.address === client : addresses.includes(pool.address),
          );
          assert.ok(pool.port >= 1024 && pool.port <= 65535);
          const word = flowWord(pool.port, 0);
          assert.equal(flows.get(pool.address, word), -1);
          flows.set(pool.address, word, closes ? RECENTLY_CLOSED + 77 : 1);
        }
      },
    ),
  );
});

Deno.test("when all ports are taken, one closed recently is used again; or there is none", () => {
  const flows = new FlowTable(1 << 16);
  const pool = new AddressPool(new Int32Array(0), flows);
  for (let port = 1024; port < 65536; port++) flows.set(9, flowWord(port, 0), 1);
  assert.equal(pool.choose(9, 5000, 0, 0), false);
  for (let port = 1024; port < 65536; port += 100) {
    flows.set(9, flowWord(port, 0), RECENTLY_CLOSED + 7);
  }
  assert.equal(pool.choose(9, 5000, 0, 0), true);
  assert.equal((pool.port - 1024) % 100, 0);
  flows.set(9, flowWord(5000, 0), RECENTLY_CLOSED);
  assert.equal(pool.choose(9, 5000, 0, 0), true);
  assert.equal(pool.port, 5000);
});

Deno.test("mix spreads and stays in 0..2^31-1", () => {
  const seen = new Set<number>();
  for (let i = -2000; i < 2000; i++) {
    const mixed = mix(i);
    assert.ok(Number.isInteger(mixed) && mixed >= 0 && mixed <= 0x7fffffff);
    seen.add(mixed);
  }
  assert.ok(seen.size > 3990);
});

Deno.test("clients on this host get the address they are to have", () => {
  const rules = {
    localhostAddress: 99,
    portShift: 0,
    portClass: 0,
    portClasses: 1,
    partition: WHOLE,
  };
  const pool = new AddressPool(new Int32Array(0), new FlowTable(), rules);
  assert.equal(pool.choose(0x7f000001, 4000, 0, 0), true);
  assert.deepEqual([pool.address, pool.port], [99, 4000]);
  assert.equal(pool.choose(7, 4000, 0, 0), true);
  assert.equal(pool.address, 7);
});

Deno.test("ports are moved up, around at the end, and never below the first", () => {
  const rules = {
    localhostAddress: 0,
    portShift: 2048,
    portClass: 0,
    portClasses: 1,
    partition: WHOLE,
  };
  const pool = new AddressPool(new Int32Array(0), new FlowTable(), rules);
  for (const [port, moved] of [[4000, 6048], [65535, 1024 + 2047]]) {
    pool.choose(7, port, 0, 0);
    assert.equal(pool.port, moved);
  }
});

Deno.test("instances that share the ports never choose the same four-tuple", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 64 }),
      fc.array(fc.integer({ min: 1, max: 65535 }), { minLength: 1, maxLength: 50 }),
      (portClasses, wishes) => {
        const taken = new Set<number>();
        for (let portClass = 0; portClass < portClasses; portClass++) {
          const flows = new FlowTable();
          const rules = {
            localhostAddress: 0,
            portShift: 0,
            portClass,
            portClasses,
            partition: WHOLE,
          };
          const pool = new AddressPool(new Int32Array(0), flows, rules);
          for (const wish of wishes) {
            assert.equal(pool.choose(7, wish, 0, 0), true);
            assert.ok(pool.port >= 1 && pool.port <= 65535);
            assert.equal(pool.port % portClasses, portClass);
            assert.equal(taken.has(pool.port), false);
            taken.add(pool.port);
            flows.set(7, flowWord(pool.port, 0), 1);
          }
        }
      },
    ),
    { numRuns: 50 },
  );
});

Deno.test("the pools of several workers never choose the same address and port", () => {
  const count = 3;
  for (const addresses of [[], [1, 2]]) {
    const chosen = new Set<string>();
    const flows = [0, 1, 2].map(() => new FlowTable());
    const pools = flows.map((table, index) =>
      new AddressPool(Int32Array.from(addresses), table, {
        ...{ localhostAddress: 0, portShift: 0, portClass: 0, portClasses: 1 },
        partition: { index, count },
      })
    );
    let kept = 0;
    // Every connection and a copy of it, as the worker that its client's port belongs to has them.
    for (let i = 0; i < 3000; i++) {
      const [client, port] = [100 + (i & 3), 40_000 + (i >>> 2)];
      const worker = partitionOf(port, count);
      const pool = pools[worker];
      for (const copy of [0, 1]) {
        assert.equal(pool.choose(client, port, copy, 0), true);
        assert.equal(partitionOf(pool.port, count), worker);
        flows[worker].set(pool.address, flowWord(pool.port, 0), 1);
        const name = `${pool.address}:${pool.port}`;
        assert.ok(!chosen.has(name), name);
        chosen.add(name);
        if (pool.port === port) kept++;
      }
    }
    assert.ok(kept > 1000, `${kept} kept their port`);
  }
});

Deno.test("instances that share the ports and have workers never choose the same four-tuple", () => {
  const taken = new Set<number>();
  for (let portClass = 0; portClass < 64; portClass++) {
    for (let index = 0; index < 16; index++) {
      const partition = { index, count: 16 };
      const rules = { localhostAddress: 0, portShift: 0, portClass, portClasses: 64, partition };
      const flows = new FlowTable();
      const pool = new AddressPool(new Int32Array(0), flows, rules);
      for (let wish = 40_000; wish < 40_010; wish++) {
        assert.equal(pool.choose(7, wish, 0, 0), true);
        assert.equal(pool.port % 64, portClass);
        assert.equal(partitionOf(pool.port, 16), index);
        assert.equal(taken.has(pool.port), false);
        taken.add(pool.port);
        flows.set(7, flowWord(pool.port, 0), 1);
      }
    }
  }
});
