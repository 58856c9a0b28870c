import assert from "node:assert/strict";
import { Next } from "../../src/capture/recorded_packets.ts";
import { Player, type PlayerOptions } from "../../src/tcpcopy/player.ts";

/** Packets at the given times; before each of those in `late` there is nothing a few times. */
class Recording {
  #at = -1;
  #waited = 0;
  constructor(readonly timesMs: number[], readonly late: ReadonlySet<number> = new Set()) {}
  get timestampUs(): number {
    return (this.timesMs[this.#at] ?? 0) * 1000;
  }
  next(): Next {
    if (this.late.has(this.#at + 1) && this.#waited++ < 3) return Next.Wait;
    this.#waited = 0;
    return ++this.#at < this.timesMs.length ? Next.Packet : Next.End;
  }
}

/** When each packet is played, on a clock that starts at 100. */
function play(
  timesMs: number[],
  options: Partial<PlayerOptions> = {},
  isBehind: (nowMs: number) => boolean = () => false,
  late?: ReadonlySet<number>,
): number[] {
  const played: number[] = [];
  let nowMs = 100;
  const player = new Player(
    new Recording(timesMs, late),
    { acceleration: 1, maxGapMs: undefined, ...options },
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

Deno.test("a jump of years is cut to a second, there and back, and the rhythm goes on", () => {
  const yearsMs = 2_594_967_280_000;
  assert.deepEqual(
    play([0, 10, yearsMs, yearsMs + 20, 40, 50]),
    [100, 110, 1110, 1130, 1130, 1140],
  );
  assert.deepEqual(play([0, yearsMs, yearsMs + 20], { acceleration: 10 }), [100, 200, 202]);
  assert.deepEqual(play([0, 3_600_001, 1], { maxGapMs: 50 }), [100, 150, 150]);
});

Deno.test("a pause of a quarter of an hour is kept", () => {
  assert.deepEqual(play([0, 900_000]), [100, 900_100]);
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

Deno.test("packets that come late are played late, and those behind them in time", () => {
  // Looked for again every 2 ms, three times.
  assert.deepEqual(play([0, 10, 50], {}, undefined, new Set([0])), [106, 116, 156]);
  assert.deepEqual(play([0, 1, 50], {}, undefined, new Set([1])), [100, 106, 150]);
  assert.deepEqual(play([0, 1], {}, undefined, new Set([2])), [100, 101]);
});
