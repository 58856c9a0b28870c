/**
 * What the lab's clients do, as data. Pure.
 *
 * The names are those of the "cases" of the command line; the counts are those the project promises
 * 100 % for. `scaled` makes quick versions.
 */

/** What one client process does. */
export interface Workload {
  name: string;
  /** One line for people. */
  title: string;
  /** Connections in all. */
  connections: number;
  /** How many of them are open at a time. */
  concurrency: number;
  /** Requests on each connection. */
  requests: number;
  /** Requests sent without waiting for a reply in between. */
  pipeline: number;
  /** Smallest and largest payload of a request, in bytes. */
  requestBytes: [number, number];
  /** Smallest and largest payload of a reply, in bytes. */
  replyBytes: [number, number];
  /** Pause between two turns, in milliseconds. */
  gapMs: number;
  /** Bytes the servers send before any request. */
  greetingBytes: number;
  /** Delay per request on the target server only, in milliseconds. */
  targetDelayMs: number;
  /** Pause after each read call on the target server only: its window closes. */
  targetReadPauseMs: number;
  /**
   * How a connection ends: the client closes after the last reply; it closes its sending side
   * before the last reply; the server closes first; or the client resets before it has read the
   * last reply.
   */
  ending: "client" | "half" | "server" | "reset";
  /** Requests made before the client says "joined" and waits for "go"; 0: no such stop. */
  requestsBeforeJoin: number;
}

const base: Omit<Workload, "name" | "title"> = {
  connections: 50,
  concurrency: 50,
  requests: 20,
  pipeline: 1,
  requestBytes: [20, 300],
  replyBytes: [50, 1000],
  gapMs: 0,
  greetingBytes: 0,
  targetDelayMs: 0,
  targetReadPauseMs: 0,
  ending: "client",
  requestsBeforeJoin: 0,
};

function workload(name: string, title: string, difference: Partial<Workload>): Workload {
  return { ...base, ...difference, name, title };
}

const list: Workload[] = [
  workload("keepalive", "50 keep-alive connections × 200 small requests", { requests: 200 }),
  workload("short", "3,000 short connections, 40 at a time", {
    connections: 3000,
    concurrency: 40,
    requests: 1,
  }),
  workload("mixed", "requests of 1–60 kB, replies up to 60 kB", {
    connections: 40,
    concurrency: 20,
    requestBytes: [1_000, 60_000],
    replyBytes: [0, 60_000],
  }),
  workload("upload", "uploads of 4 MB", {
    connections: 20,
    concurrency: 4,
    requests: 2,
    requestBytes: [4_000_000, 4_000_000],
  }),
  workload("pipelined", "10 requests pipelined", { requests: 100, pipeline: 10 }),
  workload("big-replies", "replies of 500 kB", {
    connections: 20,
    concurrency: 10,
    requests: 10,
    replyBytes: [500_000, 500_000],
  }),
  workload("half-close", "half-close before the last reply", {
    connections: 200,
    concurrency: 20,
    requests: 5,
    ending: "half",
  }),
  workload("greeting", "server greets first", {
    connections: 200,
    concurrency: 20,
    requests: 5,
    greetingBytes: 90,
  }),
  workload("slow-target", "target 50 ms slower per request", {
    requests: 20,
    targetDelayMs: 50,
    gapMs: 5,
  }),
  workload("slow-reader", "uploads to a target that reads slowly, its window closed at times", {
    connections: 8,
    concurrency: 8,
    requests: 4,
    requestBytes: [500_000, 2_000_000],
    targetReadPauseMs: 25,
  }),
  workload("join", "tcpcopy started while connections are open", {
    requests: 60,
    requestBytes: [20, 20_000],
    requestsBeforeJoin: 20,
  }),
  workload("join-busy", "tcpcopy started in the middle of requests", {
    connections: 20,
    concurrency: 20,
    requests: 300,
    requestBytes: [20, 60_000],
    gapMs: 20,
  }),
  workload("server-closes", "short connections that the server closes first", {
    connections: 1000,
    concurrency: 40,
    requests: 2,
    ending: "server",
  }),
  workload("reset", "connections that the client resets before the last reply is read", {
    connections: 200,
    concurrency: 20,
    requests: 3,
    ending: "reset",
  }),
  workload("steady", "20 connections, a request every 20 ms for 6 s", {
    connections: 20,
    concurrency: 20,
    requests: 300,
    gapMs: 20,
  }),
];

/** All workloads by name. */
export const workloads: ReadonlyMap<string, Workload> = new Map(list.map((w) => [w.name, w]));

/**
 * The workload of that name.
 *
 * @throws Error naming those there are
 */
export function workloadNamed(name: string): Workload {
  const found = workloads.get(name);
  if (found === undefined) {
    throw new Error(`unknown workload "${name}": there are ${[...workloads.keys()].join(", ")}`);
  }
  return found;
}

/** The same workload with `factor` times the connections, at least one. */
export function scaled(workload: Workload, factor: number): Workload {
  const connections = Math.max(1, Math.round(workload.connections * factor));
  return { ...workload, connections, concurrency: Math.min(workload.concurrency, connections) };
}

/** A size in [smallest, largest], determined by connection and request: the same in every run. */
export function sizeFor(
  range: readonly [number, number],
  connectionId: number,
  requestNumber: number,
  salt: number,
): number {
  const [smallest, largest] = range;
  let hash = Math.imul(connectionId + 1, 0x27d4eb2f) ^ Math.imul(requestNumber + 1, 0x165667b1) ^
    Math.imul(salt, 0x9e3779b1);
  hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca77);
  hash ^= hash >>> 13;
  return smallest + (hash >>> 0) % (largest - smallest + 1);
}
