/**
 * Compares what the online application read with what the target application read. Pure.
 *
 * Connections are matched by the number their frames carry. One counts as exact when the target
 * read the very same bytes, in exactly one connection, with the same ending. Where the target closes
 * connections by itself, those of one number are read one after the other.
 */

import { type ConnectionRecord, NumberRuns, type ServerReport } from "./report.ts";

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
  /** Where requests came early, in the same form. */
  earlyConnections: string[];
}

/** What is expected otherwise than in a plain replay. */
export interface CompareRules {
  /**
   * For a replay that began in mid-stream: by connection number, the first request that must
   * arrive; all after it must, too.
   */
  firstDue?: ReadonlyMap<number, number>;
  /**
   * The target closes connections by itself, and what is left of one comes on a fresh one. Both
   * servers must have written the frames' check values.
   */
  continued?: boolean;
}

const MAX_LINES = 12;

/**
 * Compares two reports.
 *
 * @param rules given for a replay that began while connections were open, or a target that closes
 */
export function compare(
  online: ServerReport,
  target: ServerReport,
  rules: CompareRules = {},
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
    const problem = problemOf(record, onTarget.get(id) ?? [], rules);
    if (problem === undefined) exact++;
    else lines.push(`connection ${id ?? "?"} (from ${record.peer}): ${problem}`);
  }
  const early = target.connections.filter((record) => record.early > 0).map((record) =>
    `connection ${record.ids.join(", ")} (from ${record.peer}): ${record.early} requests came ` +
    `before the reply they had waited for, first request ${record.earlyNumbers.join(", ")}`
  );
  return {
    online: count,
    exact,
    share: count === 0 ? 0 : exact / count,
    requestsOnline: sum(online, (r) => r.frames),
    requestsTarget: sum(target, (r) => r.frames),
    early: sum(target, (r) => r.early),
    earlyOnline: sum(online, (r) => r.early),
    mismatches: shortened(lines),
    earlyConnections: shortened(early),
  };
}

function shortened(lines: readonly string[]): string[] {
  const shown = lines.slice(0, MAX_LINES);
  if (lines.length > MAX_LINES) shown.push(`… and ${lines.length - MAX_LINES} more`);
  return shown;
}

function sum(report: ServerReport, value: (record: ConnectionRecord) => number): number {
  return report.connections.reduce((total, record) => total + value(record), 0);
}

/** What is wrong with the target's side of one connection; `undefined`: nothing. */
function problemOf(
  online: ConnectionRecord,
  candidates: ConnectionRecord[],
  rules: CompareRules,
): string | undefined {
  if (online.ids.length !== 1 || online.error !== undefined) {
    return `online itself was not right (lab fault): ${describe(online)}`;
  }
  if (candidates.length === 0) return "never came";
  if (rules.continued && candidates.some(({ ending }) => ending === "closed")) {
    return continuedProblem(online, candidates);
  }
  if (candidates.length > 1) {
    return `came in ${candidates.length} connections: ${candidates.map(describe).join("; ")}`;
  }
  const target = candidates[0];
  if (target.error !== undefined) return `${target.error}; ${describe(target)}`;
  const firstDue = rules.firstDue?.get(online.ids[0]);
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

/**
 * The frames of all the target's connections, in order of opening, must be those online: each whole
 * and once. A part of a frame may come before only where the target closed on it.
 */
function continuedProblem(
  online: ConnectionRecord,
  candidates: readonly ConnectionRecord[],
): string | undefined {
  const pieces = [...candidates].sort((a, b) => a.openedMs - b.openedMs);
  const description = describeAll(pieces);
  const wrong = pieces.find(({ error, ids }) => error !== undefined || ids.length !== 1);
  if (wrong !== undefined) return `${describe(wrong)}; of ${description}`;
  const abandoned = pieces.slice(0, -1).find(({ ending }) => ending !== "closed");
  if (abandoned !== undefined) {
    return `left a connection the target had not closed: ${description}`;
  }
  const due = online.frameChecks;
  const came = pieces.flatMap(({ frameChecks }) => frameChecks ?? []);
  if (due === undefined || due.length !== online.frames) {
    return `online itself has no check values (lab fault): ${describe(online)}`;
  }
  if (came.length !== due.length) {
    return `expected requests ${online.numbers} once each, came ${description}`;
  }
  const wrongAt = due.findIndex((check, at) => came[at] !== check);
  if (wrongAt >= 0) return `request ${wrongAt} is not the one online: ${description}`;
  const last = pieces[pieces.length - 1];
  if (last.ending === "closed") return undefined;
  if (last.partialBytes !== online.partialBytes) return `a part of a request came: ${description}`;
  return endingProblem(online, last);
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

/** The requests of several connections as if they were one. */
function describeAll(pieces: readonly ConnectionRecord[]): string {
  const runs = new NumberRuns();
  for (const { numbers } of pieces) {
    for (const [, first, last] of numbers.matchAll(/(\d+)(?:-(\d+))?/g)) {
      for (let n = Number(first); n <= Number(last ?? first); n++) runs.add(n);
    }
  }
  const endings = new Set(pieces.map(({ ending }) => ending));
  return `requests ${runs.finish()} in ${pieces.length} connections, ended ${
    [...endings].join(", ")
  }`;
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
