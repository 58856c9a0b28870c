/** The demo's result as a table for a terminal. Pure. */

import { formatCount } from "../../src/observe/report.ts";
import type { Comparison } from "./compare.ts";
import type { LatencyReport } from "./latency.ts";

/** CPU one program used, user and system. */
export interface CpuUse {
  usPerRequest: number;
  shareOfCore: number;
}

/** One row: how one replay came out. */
export interface Result {
  name: "live" | "offline";
  comparison: Comparison;
  onlineLatency: LatencyReport;
  targetLatency: LatencyReport;
  /** How far the requests were behind their capture, by tcpcopy's own measure; for example 0/12. */
  lagMs: string;
  tcpcopy: CpuUse;
  intercept: CpuUse;
}

/** Widths of the columns of the wide table; the first is to the left. */
const WIDTHS = [7, 7, 7, 8, 11, 11, 7, 11, 10];
const LABEL_WIDTH = 26;
const VALUE_WIDTH = 12;

/**
 * Lays the table out: a row per replay, or a column per replay where that is too wide.
 *
 * @param micro how to write the unit of microseconds
 */
export function table(results: readonly Result[], width: number, micro: string): string[] {
  const rows = results.map((result) => values(result));
  const wide = WIDTHS.reduce((sum, column) => sum + column, 0);
  if (width > wide) {
    return [
      spread([
        "",
        "requests",
        "byte-",
        "latency p50/p99, ms",
        "behind",
        `CPU, ${micro}/req. (core)`,
      ]),
      line(["", "online", "target", "exact", "online", "target", "ms", "tcpcopy", "intercept"]),
      ...rows.map(line),
    ];
  }
  const labels = [
    "",
    "requests online",
    "requests on the target",
    "byte-exact",
    "p50/p99 online, ms",
    "p50/p99 on the target, ms",
    "behind p50/p99, ms",
    `tcpcopy, ${micro}/req. (core)`,
    `intercept, ${micro}/req. (core)`,
  ];
  return labels.map((label, index) =>
    label.padEnd(LABEL_WIDTH) + rows.map((row) => row[index].padStart(VALUE_WIDTH)).join("")
  );
}

function values(result: Result): string[] {
  const { comparison } = result;
  return [
    result.name,
    formatCount(comparison.requestsOnline),
    formatCount(comparison.requestsTarget),
    percent(comparison.exact, comparison.connections),
    latency(result.onlineLatency),
    latency(result.targetLatency),
    result.lagMs,
    cpu(result.tcpcopy),
    cpu(result.intercept),
  ];
}

/** Rounded down: 100 % is all of it. */
export function percent(part: number, whole: number): string {
  if (whole === 0 || part === whole) return "100 %";
  return `${(Math.floor((part / whole) * 1000) / 10).toFixed(1)} %`;
}

function latency({ p50Us, p99Us }: LatencyReport): string {
  return `${ms(p50Us)}/${ms(p99Us)}`;
}

function cpu({ usPerRequest, shareOfCore }: CpuUse): string {
  return `${usPerRequest.toFixed(0)} (${(shareOfCore * 100).toFixed(0)} %)`;
}

function ms(us: number): string {
  return (us / 1000).toFixed(us < 10_000 ? 2 : 1);
}

function line(fields: readonly string[]): string {
  return fields.map((field, index) =>
    index === 0 ? field.padEnd(WIDTHS[0]) : field.padStart(WIDTHS[index])
  ).join("");
}

/** Headings over the columns they are for, flush with the last of them. */
function spread(fields: readonly string[]): string {
  const spans = [[0], [1, 2], [3], [4, 5], [6], [7, 8]];
  return fields.map((field, index) => {
    const width = spans[index].reduce((sum, column) => sum + WIDTHS[column], 0);
    return field.padStart(width);
  }).join("");
}
