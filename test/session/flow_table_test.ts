import assert from "node:assert/strict";
import fc from "fast-check";
import { FlowTable, flowWord } from "../../src/session/flow_table.ts";

const command = fc.record({
  kind: fc.constantFrom("set", "set", "delete"),
  address: fc.constantFrom(0, 1, -1, 0x7fffffff, -0x80000000, 0x0a000001),
  word: fc.integer({ min: 0, max: 40 }).map((port) => flowWord(port * 1600, port & 1)),
  value: fc.nat(0x40000001),
});

Deno.test("the table behaves as a map", () => {
  fc.assert(fc.property(fc.array(command, { maxLength: 400 }), (commands) => {
    const table = new FlowTable(4);
    const model = new Map<string, number>();
    for (const { kind, address, word, value } of commands) {
      const key = `${address} ${word}`;
      if (kind === "set") {
        table.set(address, word, value);
        model.set(key, value);
      } else {
        table.delete(address, word);
        model.delete(key);
      }
      assert.equal(table.size, model.size);
      assert.equal(table.get(address, word), model.get(key) ?? -1);
    }
    for (const { address, word } of commands) {
      assert.equal(table.get(address, word), model.get(`${address} ${word}`) ?? -1);
    }
  }));
});

Deno.test("many flows go in and out", () => {
  const table = new FlowTable();
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 20_000; i++) table.set(i >> 8, flowWord(i & 0xffff, round), i);
    assert.equal(table.size, 20_000);
    for (let i = 0; i < 20_000; i++) {
      assert.equal(table.get(i >> 8, flowWord(i & 0xffff, round)), i);
      table.delete(i >> 8, flowWord(i & 0xffff, round));
    }
    assert.equal(table.size, 0);
  }
});

Deno.test("port and context are both in the key word", () => {
  assert.equal(flowWord(65535, 3) >>> 16, 65535);
  assert.equal(flowWord(65535, 3) & 0xffff, 3);
});

Deno.test("cleared, it has nothing", () => {
  const table = new FlowTable();
  for (let i = 0; i < 5000; i++) table.set(i, flowWord(i, 0), i);
  table.clear();
  assert.equal(table.size, 0);
  assert.equal(table.get(7, flowWord(7, 0)), -1);
  table.set(7, flowWord(7, 0), 1);
  assert.equal(table.get(7, flowWord(7, 0)), 1);
});
