import assert from "node:assert/strict";
import { Next } from "../../src/capture/recorded_packets.ts";
import { Player } from "../../src/tcpcopy/player.ts";
import {
  describePlayingTime,
  describeProgress,
  leastPlayed,
  type PlayedStretch,
} from "../../src/tcpcopy/playing_time.ts";

const whole: PlayedStretch = { packets: 4000, recordedMs: 3_600_000, playingMs: 360_000 };
const half: PlayedStretch = { packets: 2000, recordedMs: 1_800_500, playingMs: 180_050 };

Deno.test("the recorded and the expected playing time are told, and progress by both", () => {
  assert.equal(
    describePlayingTime(whole, 1),
    "recorded in 3,600.0 s, to be played in 360.0 s",
  );
  assert.match(describePlayingTime(whole, 3), /in 360\.0 s, 3 times: 1,080\.0 s$/);
  assert.equal(
    describeProgress(half, whole),
    "50 % played: 1,800.5 of 3,600.0 s recorded, 180.1 of 360.0 s playing time",
  );
  assert.equal(
    describeProgress(half, undefined),
    "2,000 packets played: 1,800.5 s recorded, 180.1 s playing time",
  );
});

Deno.test("of several parts the slowest counts", () => {
  const slow = { packets: 1, recordedMs: 2, playingMs: 3 };
  assert.deepEqual(leastPlayed([half, slow, whole]), slow);
});

Deno.test("a player knows how far it is, in both", () => {
  const timesMs = [0, 100, 5100, 5200];
  let at = -1;
  const source = {
    get timestampUs() {
      return timesMs[at] * 1000;
    },
    next: () => ++at < timesMs.length ? Next.Packet : Next.End,
  };
  const player = new Player(
    source,
    { acceleration: 10, maxGapMs: 1000 },
    0,
    () => {},
    () => false,
  );
  const seen: number[][] = [];
  for (let nowMs = 0; !player.ended; nowMs += 10) {
    player.advance(nowMs);
    const { packets, recordedMs, playingMs } = player.played;
    if (seen.at(-1)?.[0] !== packets) seen.push([packets, recordedMs, playingMs]);
  }
  assert.deepEqual(seen, [[1, 0, 0], [2, 100, 10], [3, 5100, 110], [4, 5200, 120]]);
});
