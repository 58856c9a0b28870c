/**
 * The table of the cases with a twisted target: how far each replay got. Writes to standard output.
 */

import { type CaseResult, formatShare } from "./run.ts";

/** What is measured of such a case besides what is measured of all. */
export interface TwistFigures {
  /** The workload's name and the twist's. */
  base: string;
  twist: string;
  /** Connections of the clients, and requests the online server read. */
  connections: number;
  requests: number;
  /** Requests the target had read when the load ended, of those online: 0 to 1. */
  shareAtLoadEnd: number;
  /** That share divided by the one of the `equal` twist in the same run, where there was one. */
  shareOfEqual?: number;
  loadSeconds: number;
  /** From the load's start until the target had read all requests; absent: it never had. */
  secondsToAll?: number;
  /** What the ledger says of sessions that were not complete; "" when all were. */
  ledgerProblems: string;
}

/** Lines printed below a row at most: the rows are what this table is for. */
const MAX_LINES = 3;

/** Prints the heading. */
export function printTwistHeading(): void {
  console.log(row(
    "workload",
    "twist",
    ["connections", "requests", "exact", "early", "at load end", "of equal", "load s", "all s"],
    "ledger",
  ));
}

/** Prints one row, and the first few lines of what was wrong. */
export function printTwistResult(result: CaseResult, figures: TwistFigures): void {
  const { shareOfEqual, secondsToAll } = figures;
  console.log(row(figures.base, figures.twist, [
    String(figures.connections),
    String(figures.requests),
    formatShare(result.share),
    String(result.early),
    formatShare(figures.shareAtLoadEnd),
    shareOfEqual === undefined ? "-" : formatShare(shareOfEqual),
    figures.loadSeconds.toFixed(1),
    secondsToAll === undefined ? "never" : secondsToAll.toFixed(1),
  ], figures.ledgerProblems || "all complete"));
  for (const problem of result.problems.slice(0, MAX_LINES)) console.log(`    ${problem}`);
  const more = result.problems.length - MAX_LINES;
  if (more > 0) console.log(`    … and ${more} more`);
}

function row(base: string, twist: string, fields: string[], ledger: string): string {
  return base.padEnd(18) + twist.padEnd(14) +
    fields.map((field) => field.padStart(12)).join("") + `  ${ledger}`;
}
