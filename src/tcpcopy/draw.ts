/** The words about the draw of `-r`: what is drawn, and whether it comes out as asked for. Pure. */

import { formatCount } from "../observe/report.ts";
import type { SamplingRules } from "../session/client_sample.ts";
import type { SessionCounters } from "../session/counters.ts";

/** So few connections say nothing. */
const MIN_CONNECTIONS = 50;
/** Chance alone hardly goes so many standard deviations astray. */
const MAX_DEVIATIONS = 4;
/** A draw is far from what was asked when it misses the smaller share by more than this part of it. */
const FAR = 0.5;

/** What is drawn; undefined when everything is replayed. */
export function describeDraw(rules: SamplingRules): string | undefined {
  const { percentage, percentageRampMs, sampleConnections } = rules;
  if (percentage === 100 && percentageRampMs === 0) return undefined;
  const share = percentageRampMs === 0
    ? `${percentage} %`
    : `up to ${percentage} %, growing for ${percentageRampMs / 1000} s,`;
  const whole = sampleConnections
    ? "of the connections are replayed, each drawn by itself"
    : "of the clients are replayed, each with all its connections (--sample-by client)";
  return `-r ${percentage}: ${share} ${whole}`;
}

/** What a draw came to. */
export type Draw = Pick<SessionCounters, "drawnFrom" | "drawnExpected" | "drawn">;

/** What came since an earlier moment. */
export function drawSince(now: Draw, before: Draw): Draw {
  return {
    drawnFrom: now.drawnFrom - before.drawnFrom,
    drawnExpected: now.drawnExpected - before.drawnExpected,
    drawn: now.drawn - before.drawn,
  };
}

/** What is to be said about a draw that came out far from what was asked; undefined if it did not. */
export function describeFarDraw(
  { drawnFrom, drawnExpected, drawn }: Draw,
  { percentage, sampleConnections }: SamplingRules,
): string | undefined {
  if (drawnFrom < MIN_CONNECTIONS) return undefined;
  const chance = drawnExpected / drawnFrom;
  const missedBy = Math.abs(drawn - drawnExpected);
  const byChance = MAX_DEVIATIONS * Math.sqrt(drawnFrom * chance * (1 - chance));
  const tolerated = FAR * drawnFrom * Math.min(chance, 1 - chance);
  if (missedBy <= Math.max(byChance, tolerated)) return undefined;
  const why = sampleConnections
    ? "many of them come from few addresses and ports"
    : "clients are drawn by their addresses, of which too few stand for all; draw connections " +
      "instead (--sample-by connection)";
  return `-r ${percentage}: ${formatCount(drawn)} of ${formatCount(drawnFrom)} connections were ` +
    `drawn, ${formatCount(Math.round(drawnExpected))} were to be expected: ${why}`;
}
