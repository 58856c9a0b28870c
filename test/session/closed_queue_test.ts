import assert from "node:assert/strict";
import fc from "fast-check";
import { CLOSED_ENTRIES, ClosedQueue } from "../../src/session/closed_queue.ts";

Deno.test("connections leave in order when their time has come, or stay for another", () => {
  const command = fc.record({
    kind: fc.constantFrom("push", "push", "expire"),
    stepMs: fc.nat(30),
    stays: fc.boolean(),
  });
  fc.assert(fc.property(fc.array(command, { maxLength: 100 }), (commands) => {
    let nowMs = 0;
    let next = 0;
    const staying = new Set<number>();
    const left: number[] = [];
    const model: { word: number; atMs: number }[] = [];
    const numbers = new Map<number, number>();
    const push = (word: number) => {
      const entry = queue.push(-word, word, nowMs);
      assert.ok(entry >= 0 && entry < CLOSED_ENTRIES && ![...numbers.values()].includes(entry));
      numbers.set(word, entry);
    };
    const queue = new ClosedQueue(50, (address, word, entry, mayStay, atMs) => {
      assert.deepEqual([address, entry, mayStay, atMs], [-word, numbers.get(word), true, nowMs]);
      numbers.delete(word);
      if (staying.delete(word)) push(word);
      else left.push(word);
    });
    for (const { kind, stepMs, stays } of commands) {
      nowMs += stepMs;
      if (kind === "push") {
        const word = ++next;
        if (stays) staying.add(word);
        push(word);
        model.push({ word, atMs: nowMs + 50 });
        continue;
      }
      const expected: number[] = [];
      const stay = new Set(staying);
      while (model.length > 0 && model[0].atMs <= nowMs) {
        const { word } = model.shift()!;
        if (stay.delete(word)) model.push({ word, atMs: nowMs + 50 });
        else expected.push(word);
      }
      left.length = 0;
      queue.expire(nowMs);
      assert.deepEqual(left, expected);
      assert.equal(queue.size, model.length);
    }
  }));
});

Deno.test("a full queue lets the oldest go early, and does not let it stay", () => {
  const left: [number, number, boolean][] = [];
  const queue = new ClosedQueue(1000, (_address, word, entry, mayStay) => {
    left.push([word, entry, mayStay]);
  });
  for (let word = 0; word < CLOSED_ENTRIES; word++) queue.push(0, word, 0);
  assert.equal(left.length, 0);
  const entry = queue.push(0, CLOSED_ENTRIES, 0);
  assert.deepEqual(left, [[0, entry, false]]);
  assert.equal(queue.size, CLOSED_ENTRIES);
});
