import assert from "node:assert/strict";
import { Player, type PlayerOptions, type RecordedPackets } from "../../src/tcpcopy/player.ts";

class Recording implements RecordedPackets {
  #at = -1;
  constructor(readonly timesMs: number[]) {}
  get timestampUs(): number {
    return (this.timesMs[this.#at] ?? 0) * 1000;
  }
  next(): boolean {
    return ++this.#at < this.timesMs.length;
  }
}

/** When each packet is played, on a clock that starts at 100. */
function play(
  timesMs: number[],
  options: Partial<PlayerOptions> = {},
  isBehind: (nowMs: number) => boolean = () => false,
): number[] {
  const played: number[] = [];
  let nowMs = 100;
  const player = new Player(
    new Recording(timesMs),
    { acceleration: 1, maxGapMs: Infinity, ...options },
    nowMs,
    () => played.push(nowMs),
    () => isBehind(nowMs),
  );
  while (!player.ended) {
    nowMs = Math.max(nowMs, player.nextDeadlineMs());
    player.advance(nowMs);
    assert.ok(nowMs < 1_000_000, "the player stands still");
  }
  return played;
}

Deno.test("packets are played in the rhythm of their timestamps", () => {
  assert.deepEqual(play([5000, 5010, 5010, 5400]), [100, 110, 110, 500]);
});

Deno.test("acceleration divides the pauses", () => {
  assert.deepEqual(play([0, 100, 1000], { acceleration: 10 }), [100, 110, 200]);
});

Deno.test("pauses longer than the bound are cut to it", () => {
  assert.deepEqual(play([0, 10, 60_010], { maxGapMs: 50 }), [100, 110, 160]);
});

Deno.test("timestamps that go back do not stop the clock", () => {
  assert.deepEqual(play([100, 50, 110]), [100, 100, 110]);
});

Deno.test("while the replay is behind, the file waits and nothing is lost", () => {
  const played = play([0, 10, 20], {}, (nowMs) => nowMs >= 110 && nowMs < 200);
  assert.deepEqual(played, [100, 200, 210]);
});

Deno.test("more packets at one instant than fit into a turn are all played", () => {
  assert.equal(play(new Array(1000).fill(7)).length, 1000);
});

Deno.test("an empty recording has ended at once", () => {
  assert.deepEqual(play([]), []);
});
