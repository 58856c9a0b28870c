/** How far a recording was played, in packets, in recorded time and in playing time. Pure. */

import { formatCount, formatShare } from "../observe/report.ts";

/** A stretch of a recording. */
export interface PlayedStretch {
  packets: number;
  /** How long it took to record, ms. */
  recordedMs: number;
  /** How long it takes to play: pauses are cut, and it may be accelerated; ms. */
  playingMs: number;
}

/** Nothing was played yet. */
export const NOTHING_PLAYED: PlayedStretch = { packets: 0, recordedMs: 0, playingMs: 0 };

/** What all of several stretches of one recording have behind them. */
export function leastPlayed(stretches: readonly PlayedStretch[]): PlayedStretch {
  const least = (key: keyof PlayedStretch) => Math.min(...stretches.map((one) => one[key]));
  return {
    packets: least("packets"),
    recordedMs: least("recordedMs"),
    playingMs: least("playingMs"),
  };
}

/** "recorded in 60.0 s, to be played in 6.0 s" */
export function describePlayingTime(
  { recordedMs, playingMs }: PlayedStretch,
  times: number,
): string {
  const each = `recorded in ${seconds(recordedMs)} s, to be played in ${seconds(playingMs)} s`;
  return times === 1 ? each : `${each}, ${times} times: ${seconds(times * playingMs)} s`;
}

/**
 * "50 % played: 30.0 of 60.0 s recorded, 3.0 of 6.0 s playing time"
 *
 * @param whole undefined where nobody knows how much there is
 */
export function describeProgress(played: PlayedStretch, whole: PlayedStretch | undefined): string {
  if (whole === undefined) {
    return `${formatCount(played.packets)} packets played: ${seconds(played.recordedMs)} s ` +
      `recorded, ${seconds(played.playingMs)} s playing time`;
  }
  const of = (key: "recordedMs" | "playingMs") =>
    `${seconds(played[key])} of ${seconds(whole[key])} s`;
  return `${formatShare(played.packets, whole.packets)} played: ${of("recordedMs")} recorded, ` +
    `${of("playingMs")} playing time`;
}

function seconds(ms: number): string {
  const [whole, tenths] = (ms / 1000).toFixed(1).split(".");
  return `${formatCount(Number(whole))}.${tenths}`;
}
