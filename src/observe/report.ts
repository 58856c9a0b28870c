/** The words in which the programs tell what they counted. Pure. */

import type { SessionCounters } from "../session/counters.ts";
import type { Delays } from "../session/delays.ts";
import type { Usage } from "./process_usage.ts";
import { type Ledger, Outcome, OUTCOME_ADVICE, OUTCOME_NAMES } from "../session/ledger.ts";

/** What tcpcopy's report is made from. */
export interface ReplayFigures {
  ledger: Ledger;
  counters: SessionCounters;
  /** How far released turns were behind their capture. */
  delays: Delays;
  /** Packets the capture delivered, and those it had to drop. */
  captured: number;
  captureDropped: number;
  /** Connections over IPv6 to what is captured, of which nothing else is known. */
  overIpv6: number;
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

/** The same as `formatAcknowledged`, in percent and without further words. */
export function acknowledgedShare({ counters }: Pick<ReplayFigures, "counters">): string {
  const { acknowledgedBytes, capturedBytes, unreplayedBytes } = counters;
  return formatShare(acknowledgedBytes, capturedBytes + unreplayedBytes);
}

/** "part of whole" in percent, rounded down so that 100 % means all of it. */
export function formatShare(part: number, whole: number): string {
  if (whole === 0) return "100 %";
  const percent = Math.floor((part / whole) * 10_000) / 100;
  return `${percent} %`;
}

/**
 * "1,234 (99.5 %)": the share of what the clients sent, as far as is known. Where that is more than
 * was captured, it is told; without a share when nothing is known to have been sent.
 */
function formatAcknowledged({ ledger, counters, captureDropped }: ReplayFigures): string {
  const { acknowledgedBytes, capturedBytes, unreplayedBytes } = counters;
  const acknowledged = formatCount(acknowledgedBytes);
  const sentBytes = capturedBytes + unreplayedBytes;
  if (sentBytes === 0) return acknowledged;
  const share = formatShare(acknowledgedBytes, sentBytes);
  // What was missed at the end of a connection leaves no trace.
  const isUnknown = captureDropped > 0 || ledger.ended[Outcome.CaptureGap] > 0;
  if (unreplayedBytes === 0 && !isUnknown) return `${acknowledged} (${share})`;
  const of = isUnknown ? "at least" : "the";
  return `${acknowledged} (${share} of ${of} ${formatCount(sentBytes)} that clients sent)`;
}

/** "p50 1 ms, p99 12 ms, longest 35 ms" */
export function describeDelays(delays: Delays): string {
  const [median, most] = [0.5, 0.99].map((share) => formatCount(delays.quantileMs(share)));
  return `p50 ${median} ms, p99 ${most} ms, longest ${formatCount(delays.maxMs)} ms`;
}

/** "3,000, 2,998 of them answered" */
function describeRequests({ turns, answeredTurns }: SessionCounters): string {
  return turns === 0
    ? "0"
    : `${formatCount(turns)}, ${formatCount(answeredTurns)} of them answered`;
}

/** "CPU 12 % of a core, memory 88 MB" */
export function describeUsage({ cpuMs, elapsedMs, residentBytes }: Usage): string {
  return `CPU ${formatLoad(cpuMs, elapsedMs)}, memory ${formatMb(residentBytes)}`;
}

function formatLoad(cpuMs: number, elapsedMs: number): string {
  return `${elapsedMs > 0 ? (100 * cpuMs / elapsedMs).toFixed(1) : "0.0"} % of a core`;
}

function formatMb(bytes: number): string {
  return `${Math.round(bytes / (1 << 20))} MB`;
}

/**
 * One line for the log.
 *
 * @param usage what the program took since the line before
 * @param recent what `delays` took since the line before
 */
export function summarize(
  figures: ReplayFigures,
  usage: Usage,
  recent = figures.delays,
): string {
  const { ledger, counters } = figures;
  const parts = [
    `sessions ${formatCount(ledger.seen)} (${describeOutcomes(ledger)})`,
    `bytes captured ${formatCount(counters.capturedBytes)}, acknowledged ${
      formatAcknowledged(figures)
    }`,
    `packets captured ${formatCount(figures.captured)}, sent ${formatCount(figures.injected)}, ` +
    `responses ${formatCount(counters.responsePackets)}, retransmits ${
      formatCount(counters.retransmits)
    }`,
  ];
  const requests = `requests ${describeRequests(counters)}`;
  parts.push(
    recent.total === 0
      ? requests
      : `${requests}, behind their capture by ${describeDelays(recent)}`,
  );
  parts.push(describeUsage(usage));
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
  add(figures.overIpv6, "connections over IPv6, which is not replayed");
  for (const [reason, count] of figures.unusable) add(count, `captured packets ${reason}`);
  for (const [code, count] of figures.injectErrors) add(count, `packets refused with ${code}`);
  add(counters.announcedAgain, "routes announced again, as no answers came");
  add(counters.unsentPackets, "packets without room in the send queue");
  add(counters.heldPackets, "packets held back while sending to their target was stopped");
  add(counters.withoutPort, "times no source port was free (-c names too few addresses)");
  add(
    counters.wrongChecksums,
    "captured packets with a wrong checksum",
  );
  add(counters.unprovenPackets, "packets of clients the online service does not know");
  add(counters.implausiblePackets, "packets with numbers the online server does not accept");
  add(counters.foreignConnections, "connections that another tcpcopy replays, left out");
  add(counters.unbelievedResets, "captured resets that were not the client's");
  add(counters.truncatedSegments, "segments cut by the capture's snap length");
  add(counters.lostBytes, "bytes lost");
  add(counters.challenges, "resets and SYNs from targets that were not believed at once");
  add(counters.resets, "connections reset by the target");
  add(counters.reconnects, "reconnects");
  add(counters.fruitless, "connections the target ended without an answer");
  add(counters.repeatedTurns, "requests sent again on a fresh connection");
  add(counters.otherLengths, "answers of another length than online");
  add(counters.unanswered, "requests the target did not answer in time");
  add(counters.unwaited, "requests sent without waiting, to catch up (--max-lag)");
  add(counters.early, "requests sent before the answer before them was whole");
  add(counters.strayResponses, "responses of no session");
  return troubles;
}

/**
 * The ledger as a block of lines, printed when tcpcopy ends.
 *
 * @param usage what the program took in all
 */
export function formatLedger(figures: ReplayFigures, usage: Usage): string {
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
    `bytes acknowledged ${formatAcknowledged(figures)}`,
    `packets            ${formatCount(figures.captured)} captured, ${
      formatCount(figures.injected)
    } sent, ${formatCount(counters.responsePackets)} responses`,
  );
  lines.push(
    `cpu                ${(usage.cpuMs / 1000).toFixed(1)} s, ${
      formatLoad(usage.cpuMs, usage.elapsedMs)
    }`,
    `memory             ${formatMb(usage.residentBytes)}, at most ${
      formatMb(usage.maxResidentBytes)
    }`,
    `requests           ${describeRequests(counters)}`,
  );
  if (counters.turns > 0) lines.push(`  behind capture   ${describeDelays(figures.delays)}`);
  for (const trouble of describeTroubles(figures)) lines.push(`  ${trouble}`);
  ledger.ended.forEach((count, outcome) => {
    const advice = OUTCOME_ADVICE[outcome];
    if (count > 0 && advice !== undefined) lines.push(`${OUTCOME_NAMES[outcome]}: ${advice}`);
  });
  return lines.join("\n");
}

function row(name: string, count: number): string {
  return `  ${name.padEnd(16)} ${formatCount(count)}`;
}
