import assert from "node:assert/strict";
import fc from "fast-check";
import { UnprovenTable } from "../../src/session/unproven_table.ts";

Deno.test("whatever comes and goes, the table is what a simple one is", () => {
  const capacity = 5;
  const step = fc.record({
    what: fc.constantFrom("add", "remove", "expire"),
    port: fc.nat(9),
    afterMs: fc.nat(3),
  });
  fc.assert(fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
    const left: number[] = [];
    const table = new UnprovenTable(capacity, (entry) => left.push(table.word[entry]));
    let model: { port: number; atMs: number }[] = [];
    const expected: number[] = [];
    let nowMs = 0;
    for (const { what, port, afterMs } of steps) {
      nowMs += afterMs;
      const known = model.some((one) => one.port === port);
      if (what === "add" && !known) {
        if (model.length === capacity) expected.push(model.shift()!.port);
        model.push({ port, atMs: nowMs });
        table.first[table.add(7, port, nowMs)] = port * 10;
      } else if (what === "remove" && known) {
        model = model.filter((one) => one.port !== port);
        table.remove(table.find(7, port));
      } else if (what === "expire") {
        const [old, young] = [
          model.filter(({ atMs }) => atMs < nowMs - 3),
          model.filter(({ atMs }) => atMs >= nowMs - 3),
        ];
        expected.push(...old.map((one) => one.port));
        model = young;
        table.expire(nowMs - 3);
      }
      assert.equal(table.size, model.length);
      for (let one = 0; one < 10; one++) {
        const entry = table.find(7, one);
        assert.equal(entry >= 0, model.some(({ port }) => port === one));
        if (entry >= 0) assert.equal(table.first[entry], one * 10);
      }
    }
    assert.deepEqual(left, expected);
  }));
});
