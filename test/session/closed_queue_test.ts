import assert from "node:assert/strict";
import fc from "fast-check";
import { ClosedQueue } from "../../src/session/closed_queue.ts";

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
    const queue = new ClosedQueue(50, (address, word, mayStay) => {
      assert.equal(address, -word);
      assert.equal(mayStay, true);
      if (staying.delete(word)) return true;
      left.push(word);
      return false;
    });
    for (const { kind, stepMs, stays } of commands) {
      nowMs += stepMs;
      if (kind === "push") {
        const word = ++next;
        if (stays) staying.add(word);
        queue.push(-word, word, nowMs);
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
  const left: [number, boolean][] = [];
  const queue = new ClosedQueue(1000, (_address, word, mayStay) => {
    left.push([word, mayStay]);
    return true;
  });
  for (let word = 0; word < 65_536; word++) queue.push(0, word, 0);
  assert.equal(left.length, 0);
  queue.push(0, 65_536, 0);
  assert.deepEqual(left, [[0, false]]);
  assert.equal(queue.size, 65_536);
});
