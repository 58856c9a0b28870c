import assert from "node:assert/strict";
import { describeJump, type Jump, Pace } from "../../src/tcpcopy/pace.ts";

const HOUR_US = 3_600_000_000;
const YEARS_US = 2_594_967_280_000_000;

function walk(timesUs: number[], maxGapMs?: number): { gapsMs: number[]; jumps: Jump[] } {
  const jumps: Jump[] = [];
  const pace = new Pace(maxGapMs, (jump) => jumps.push(jump));
  return { gapsMs: timesUs.map((timeUs) => pace.step(timeUs)), jumps };
}

Deno.test("up to an hour all pauses are kept, beyond it they become a second", () => {
  const { gapsMs, jumps } = walk([5, 5 + HOUR_US, 6 + 2 * HOUR_US, 1006 + 2 * HOUR_US]);
  assert.deepEqual(gapsMs, [0, 3_600_000, 1000, 1]);
  assert.deepEqual(jumps, [
    { packet: 3, fromUs: 5 + HOUR_US, toUs: 6 + 2 * HOUR_US, cutToMs: 1000 },
  ]);
});

Deno.test("a jump back is played at once, and what follows in its own rhythm", () => {
  const { gapsMs, jumps } = walk([0, YEARS_US, 2000, 1000, 5000]);
  assert.deepEqual(gapsMs, [0, 1000, 0, 0, 3]);
  assert.deepEqual(jumps.map(({ packet, cutToMs }) => [packet, cutToMs]), [[2, 1000], [3, 0]]);
});

Deno.test("a bound that was asked for holds for jumps, too", () => {
  const { gapsMs, jumps } = walk([0, 7 * HOUR_US, 14 * HOUR_US], 6 * 3_600_000);
  assert.deepEqual(gapsMs, [0, 6 * 3_600_000, 6 * 3_600_000]);
  assert.deepEqual(jumps.map(describeJump), [undefined, undefined]);
});

Deno.test("jumps are told with packet and both times, whatever these are", () => {
  const [there, back] = walk([1_000_000, YEARS_US, 1_000_000]).jumps.map(describeJump);
  assert.match(
    there!,
    /^packet 2 was recorded 2,594,967,279 s after .*\(1970-01-01T00:00:01.000Z, then 2052-.*\): it is played 1 s later; --skip-gaps/,
  );
  assert.match(back!, /^packet 3 .* s before .*: it is played at once$/);
  const [absurd] = walk([0, 1e23]).jumps.map(describeJump);
  assert.match(absurd!, /then 9\d+ s since 1970/);
});
