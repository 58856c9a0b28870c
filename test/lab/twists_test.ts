/** Unit tests of the twists: what they make of requests, and that it is the same every time. */

import assert from "node:assert/strict";
import {
  type Asked,
  isUnanswered,
  onlineTwist,
  parseTwist,
  pieceEnds,
  replyDelayMs,
  replyPayloadBytes,
  twistNamed,
  twists,
  unaskedPauseMs,
} from "./twists.ts";

const asked: Asked[] = Array.from({ length: 10_000 }, (_, i) => ({
  connectionId: Math.floor(i / 200),
  requestNumber: i % 200,
  replyBytes: 100,
}));

/** How many requests get a reply of each length. */
function lengths(name: string): Map<number, number> {
  const counts = new Map<number, number>();
  for (const one of asked) {
    const bytes = replyPayloadBytes(twistNamed(name), one);
    counts.set(bytes, (counts.get(bytes) ?? 0) + 1);
  }
  return counts;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

Deno.test("replies have the lengths their twist says", () => {
  const only = { equal: 100, minus7: 93, plus7: 107, half: 50, double: 200, empty: 0 };
  for (const [name, bytes] of Object.entries(only)) {
    assert.deepEqual([...lengths(name).keys()], [bytes], name);
  }
  assert.equal(replyPayloadBytes(twistNamed("minus7"), { ...asked[0], replyBytes: 3 }), 0);
});

Deno.test("two of five replies are 7 bytes shorter or longer, half of them each", () => {
  const counts = lengths("mixed7");
  assert.deepEqual([...counts.keys()].sort((a, b) => a - b), [93, 100, 107]);
  for (const bytes of [93, 107]) {
    assert(Math.abs((counts.get(bytes) ?? 0) - 2000) < 200, `${counts.get(bytes)} of ${bytes}`);
  }
});

Deno.test("random and varied lengths fill their ranges", () => {
  for (const [name, smallest, largest] of [["random", 0, 60_000], ["pieces5varied", 70, 130]]) {
    const all = asked.map((one) => replyPayloadBytes(twistNamed(String(name)), one));
    const [from, to] = [Number(smallest), Number(largest)];
    assert(Math.min(...all) >= from && Math.max(...all) <= to);
    const middle = (from + to) / 2;
    assert(Math.abs(mean(all) - middle) < middle / 20, `${name}: ${mean(all)} on average`);
  }
});

Deno.test("one request of a hundred gets no reply, and which one never changes", () => {
  const twist = twistNamed("unanswered");
  const count = asked.filter((one) => isUnanswered(twist, one)).length;
  assert(count > 70 && count < 130, `${count} of ${asked.length}`);
  assert(!asked.some((one) => isUnanswered(twistNamed("equal"), one)));
  assert.deepEqual(
    asked.map((one) => isUnanswered(twist, one)),
    asked.map((one) => isUnanswered(parseTwist(JSON.stringify(twist)), one)),
  );
});

Deno.test("both servers delay their replies, each in its own way", () => {
  const target = twistNamed("delays");
  const online = onlineTwist(target);
  const pairs = asked.map((one) => [replyDelayMs(online, one), replyDelayMs(target, one)]);
  for (const side of [0, 1]) {
    const delays = pairs.map((pair) => pair[side]);
    assert.deepEqual([Math.min(...delays), Math.max(...delays)], [0, 20]);
    assert(Math.abs(mean(delays) - 10) < 0.5);
  }
  const same = pairs.filter(([a, b]) => a === b).length;
  assert(same < asked.length / 10, `${same} of ${asked.length} are the same`);
  assert.equal(replyDelayMs(onlineTwist(twistNamed("half")), asked[0]), 0);
});

Deno.test("pieces add up to the whole frame", () => {
  assert.deepEqual(pieceEnds(twistNamed("equal"), 100), [100]);
  assert.deepEqual(pieceEnds(twistNamed("pieces5"), 100), [33, 67, 100]);
  assert.deepEqual(pieceEnds(twistNamed("pieces5"), 2), [1, 2]);
});

Deno.test("unasked messages come 100 ms apart on average", () => {
  const unasked = twistNamed("unasked").unasked;
  assert(unasked !== undefined);
  const pauses = asked.map((one) => unaskedPauseMs(unasked, one.connectionId, one.requestNumber));
  assert(Math.abs(mean(pauses) - 100) < 5, `${mean(pauses)} ms`);
  assert(Math.min(...pauses) >= 0);
});

Deno.test("a twist is named once, and an unknown one is refused with those there are", () => {
  for (const [name, twist] of twists) assert.equal(twist.name, name);
  assert.throws(() => parseTwist("thrice"), /unknown twist "thrice": there are equal, minus7/);
});
