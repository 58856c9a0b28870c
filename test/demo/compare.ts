/**
 * Compares what the application read online with what it read on the target. Pure.
 *
 * A connection counts as byte-exact when the target read the very same bytes, on one connection and
 * only there, and saw it end in the same way.
 */

import type { ConnectionReport } from "./application.ts";

/** How a replay came out. */
export interface Comparison {
  requestsOnline: number;
  requestsTarget: number;
  /** Connections online, and how many of them arrived byte-exact. */
  connections: number;
  exact: number;
  /** What is wrong: one line each, the first few. */
  problems: string[];
}

const MAX_PROBLEMS = 5;

/** Matches connections by the number their requests carry. */
export function compare(
  online: readonly ConnectionReport[],
  target: readonly ConnectionReport[],
): Comparison {
  const onTarget = new Map<string, ConnectionReport[]>();
  for (const connection of target) {
    const key = keyOf(connection);
    onTarget.set(key, [...onTarget.get(key) ?? [], connection]);
  }
  const problems: string[] = [];
  let exact = 0;
  for (const connection of online) {
    const key = keyOf(connection);
    const problem = difference(connection, onTarget.get(key) ?? []);
    onTarget.delete(key);
    if (problem === undefined) exact++;
    else problems.push(`connection ${key}: ${problem}`);
  }
  for (const key of onTarget.keys()) problems.push(`connection ${key}: on the target only`);
  return {
    requestsOnline: sumOfRequests(online),
    requestsTarget: sumOfRequests(target),
    connections: online.length,
    exact,
    problems: problems.slice(0, MAX_PROBLEMS),
  };
}

function keyOf(connection: ConnectionReport): string {
  return connection.ids.join("+") || "without a request";
}

function difference(
  online: ConnectionReport,
  target: readonly ConnectionReport[],
): string | undefined {
  if (target.length === 0) return "never reached the target";
  if (target.length > 1) return `reached the target as ${target.length} connections`;
  const [copy] = target;
  if (copy.error !== undefined) return `the target could not read it: ${copy.error}`;
  if (copy.bytes !== online.bytes) {
    return `${online.bytes} bytes online, ${copy.bytes} on the target`;
  }
  if (copy.hash !== online.hash) return "the bytes differ";
  if (copy.ending !== online.ending) return `ended ${online.ending}, on the target ${copy.ending}`;
  return undefined;
}

function sumOfRequests(connections: readonly ConnectionReport[]): number {
  return connections.reduce((sum, connection) => sum + connection.requests, 0);
}
