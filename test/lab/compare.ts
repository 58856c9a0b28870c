/**
 * Compares what the online application read with what the target application read. Pure.
 *
 * Connections are matched by the number their frames carry. One counts as exact when the target
 * read the very same bytes, in exactly one connection, with the same ending.
 */

import type { ConnectionRecord, ServerReport } from "./report.ts";

/** What was compared, and how it came out. */
export interface Comparison {
  /** Connections the online application served. */
  online: number;
  /** How many of them the target application read exactly. */
  exact: number;
  /** `exact` of `online`, 0 to 1. */
  share: number;
  /** Whole requests online and on the target. */
  requestsOnline: number;
  requestsTarget: number;
  /** Requests that reached the target before the reply they had waited for was written. */
  early: number;
  /** The same on the online server: more than 0 would be a fault of the lab. */
  earlyOnline: number;
  /** What is wrong: one line per connection, the first few. */
  mismatches: string[];
}

/** For a replay that began in mid-stream. */
export interface JoinRule {
  /** By connection number, the first request that must arrive; all after it must, too. */
  firstDue: ReadonlyMap<number, number>;
}

const MAX_LINES = 12;

/**
 * Compares two reports.
 *
 * @param join given for a replay that began while connections were open
 */
export function compare(
  online: ServerReport,
  target: ServerReport,
  join?: JoinRule,
): Comparison {
  const onTarget = new Map<number, ConnectionRecord[]>();
  const lines: string[] = [];
  for (const record of target.connections) {
    for (const id of record.ids) onTarget.set(id, [...onTarget.get(id) ?? [], record]);
    // Bytes of a stream without one readable header belong to nobody.
    if (record.ids.length === 0 && record.bytes > 0) {
      lines.push(`target connection from ${record.peer}: ${describe(record)}`);
    }
  }
  let exact = 0;
  let count = 0;
  for (const record of online.connections) {
    if (record.ids.length === 0 && record.bytes === 0) continue; // opened only
    count++;
    const id = record.ids[0];
    const problem = problemOf(record, onTarget.get(id) ?? [], join?.firstDue.get(id));
    if (problem === undefined) exact++;
    else lines.push(`connection ${id ?? "?"} (from ${record.peer}): ${problem}`);
  }
  // After the mismatches: bytes matter more than moments.
  for (const record of target.connections) {
    if (record.early === 0) continue;
    lines.push(
      `connection ${record.ids.join(", ")} (from ${record.peer}): ${record.early} requests came ` +
        `before the reply they had waited for, first request ${record.earlyNumbers.join(", ")}`,
    );
  }
  const mismatches = lines.slice(0, MAX_LINES);
  if (lines.length > MAX_LINES) mismatches.push(`… and ${lines.length - MAX_LINES} more`);
  return {
    online: count,
    exact,
    share: count === 0 ? 0 : exact / count,
    requestsOnline: sum(online, (r) => r.frames),
    requestsTarget: sum(target, (r) => r.frames),
    early: sum(target, (r) => r.early),
    earlyOnline: sum(online, (r) => r.early),
    mismatches,
  };
}

function sum(report: ServerReport, value: (record: ConnectionRecord) => number): number {
  return report.connections.reduce((total, record) => total + value(record), 0);
}

/** What is wrong with the target's side of one connection; `undefined`: nothing. */
function problemOf(
  online: ConnectionRecord,
  candidates: ConnectionRecord[],
  firstDue: number | undefined,
): string | undefined {
  if (online.ids.length !== 1 || online.error !== undefined) {
    return `online itself was not right (lab fault): ${describe(online)}`;
  }
  if (candidates.length === 0) return "never came";
  if (candidates.length > 1) {
    return `came in ${candidates.length} connections: ${candidates.map(describe).join("; ")}`;
  }
  const target = candidates[0];
  if (target.error !== undefined) return `${target.error}; ${describe(target)}`;
  if (firstDue !== undefined) return joinProblem(online, target, firstDue);
  if (target.bytes !== online.bytes) {
    return `expected ${online.bytes} bytes (${describe(online)}), came ${target.bytes} ` +
      `(${describe(target)})`;
  }
  if (target.hash !== online.hash) return `${online.bytes} bytes, but not the same ones`;
  return endingProblem(online, target);
}

function endingProblem(online: ConnectionRecord, target: ConnectionRecord): string | undefined {
  if (target.ending === online.ending) return undefined;
  return `all ${online.bytes} bytes came, but it ended with ${target.ending} ` +
    `instead of ${online.ending}`;
}

/** Every payload was checked against its header already: what remains is their order. */
function joinProblem(
  online: ConnectionRecord,
  target: ConnectionRecord,
  firstDue: number,
): string | undefined {
  const due = /^0-(\d+)$/.exec(online.numbers);
  if (due === null) return `online itself was not right (lab fault): ${describe(online)}`;
  const last = Number(due[1]);
  if (target.ids.length !== 1) return `mixed with others: ${describe(target)}`;
  const came = /^(\d+)(?:-(\d+))?$/.exec(target.numbers);
  if (came === null) return `expected one run of requests up to ${last}, came ${describe(target)}`;
  const [first, end] = [Number(came[1]), Number(came[2] ?? came[1])];
  if (first > firstDue || end !== last || target.partialBytes !== online.partialBytes) {
    return `expected requests ${firstDue}-${last} at least, came ${describe(target)}`;
  }
  return endingProblem(online, target);
}

function describe(record: ConnectionRecord): string {
  const parts = [
    `requests ${record.numbers || "none"}`,
    ...(record.partialBytes > 0 ? [`+ ${record.partialBytes} bytes of the next`] : []),
    ...(record.ids.length > 1 ? [`of connections ${record.ids.join(", ")}`] : []),
    ...(record.error === undefined ? [] : [record.error]),
    `ended ${record.ending}`,
  ];
  return parts.join(", ");
}
