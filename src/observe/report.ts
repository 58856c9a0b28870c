/** The words in which the programs tell what they counted. Pure. */

import type { SessionCounters } from "../session/counters.ts";
import { type Ledger, OUTCOME_NAMES } from "../session/ledger.ts";

/** What tcpcopy's report is made from. */
export interface ReplayFigures {
  ledger: Ledger;
  counters: SessionCounters;
  /** Packets the capture delivered, and those it had to drop. */
  captured: number;
  captureDropped: number;
  /** Captured packets that could not be parsed, by reason. */
  unusable: ReadonlyMap<string, number>;
  /** Packets the kernel took for sending, and those it refused, by error name. */
  injected: number;
  injectErrors: ReadonlyMap<string, number>;
}

/** Formats a number with thousands separated, for people. */
export function formatCount(value: number): string {
  return value.toString().replace(/\B(?=(\d{3})+$)/g, ",");
}

/** "part of whole" in percent, rounded down so that 100 % means all of it. */
export function formatShare(part: number, whole: number): string {
  if (whole === 0) return "100 %";
  const percent = Math.floor((part / whole) * 10_000) / 100;
  return `${percent} %`;
}

/** "1,234 (99.5 %)"; without a share when there is nothing to share. */
function formatAcknowledged(counters: SessionCounters): string {
  const { acknowledgedBytes, capturedBytes } = counters;
  if (capturedBytes === 0) return formatCount(acknowledgedBytes);
  return `${formatCount(acknowledgedBytes)} (${formatShare(acknowledgedBytes, capturedBytes)})`;
}

/** One line for the log. */
export function summarize(figures: ReplayFigures): string {
  const { ledger, counters } = figures;
  const parts = [
    `sessions ${formatCount(ledger.seen)} (${describeOutcomes(ledger)})`,
    `bytes captured ${formatCount(counters.capturedBytes)}, acknowledged ${
      formatAcknowledged(counters)
    }`,
    `packets captured ${formatCount(figures.captured)}, sent ${formatCount(figures.injected)}, ` +
    `responses ${formatCount(counters.responsePackets)}, retransmits ${
      formatCount(counters.retransmits)
    }`,
  ];
  const troubles = describeTroubles(figures);
  if (troubles.length > 0) parts.push(troubles.join(", "));
  return parts.join("; ");
}

function describeOutcomes(ledger: Ledger): string {
  const parts = [`${formatCount(ledger.open)} open`];
  ledger.ended.forEach((count, outcome) => {
    if (count > 0) parts.push(`${formatCount(count)} ${OUTCOME_NAMES[outcome]}`);
  });
  return parts.join(", ");
}

function describeTroubles(figures: ReplayFigures): string[] {
  const { counters } = figures;
  const troubles: string[] = [];
  const add = (count: number, what: string) => {
    if (count > 0) troubles.push(`${formatCount(count)} ${what}`);
  };
  add(figures.captureDropped, "packets dropped by the capture (the kernel had no room)");
  for (const [reason, count] of figures.unusable) add(count, `captured packets ${reason}`);
  for (const [code, count] of figures.injectErrors) add(count, `packets refused with ${code}`);
  add(counters.unsentPackets, "packets without room in the send queue");
  add(counters.withoutPort, "times no source port was free (-c names too few addresses)");
  add(counters.truncatedSegments, "segments cut by the capture's snap length");
  add(counters.lostBytes, "bytes lost");
  add(counters.resets, "connections reset by the target");
  add(counters.reconnects, "reconnects");
  add(counters.shortAnswers, "answers shorter than online");
  add(counters.strayResponses, "responses of no session");
  return troubles;
}

/** The ledger as a block of lines, printed when tcpcopy ends. */
export function formatLedger(figures: ReplayFigures): string {
  const { ledger, counters } = figures;
  const lines = [`sessions           ${formatCount(ledger.seen)}`];
  if (ledger.open > 0) lines.push(row("open", ledger.open));
  ledger.ended.forEach((count, outcome) => {
    if (count > 0 || outcome === 0) lines.push(row(OUTCOME_NAMES[outcome], count));
  });
  const notes: string[] = [];
  if (counters.joined > 0) notes.push(`${formatCount(counters.joined)} joined in mid-stream`);
  if (counters.movedPorts > 0) {
    notes.push(`${formatCount(counters.movedPorts)} with another source port than the client's`);
  }
  if (counters.sampledOut > 0) {
    notes.push(`${formatCount(counters.sampledOut)} more left out by sampling`);
  }
  if (notes.length > 0) lines.push(`  (${notes.join("; ")})`);
  lines.push(
    `bytes captured     ${formatCount(counters.capturedBytes)}`,
    `bytes acknowledged ${formatAcknowledged(counters)}`,
    `packets            ${formatCount(figures.captured)} captured, ${
      formatCount(figures.injected)
    } sent, ${formatCount(counters.responsePackets)} responses`,
  );
  for (const trouble of describeTroubles(figures)) lines.push(`  ${trouble}`);
  return lines.join("\n");
}

function row(name: string, count: number): string {
  return `  ${name.padEnd(16)} ${formatCount(count)}`;
}
