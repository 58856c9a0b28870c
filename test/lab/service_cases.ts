/**
 * The cases with services of others on both servers, whose answers differ by themselves: counters,
 * times, passwords. Pure. They are no part of `cases`, which runs without them being installed.
 */

import type { Case } from "./cases.ts";

const withoutWorkload = { lab: {}, plan: { workloads: [] } };

const list: Case[] = [
  {
    ...withoutWorkload,
    name: "redis",
    title: "Redis under redis-benchmark, 30 connections, 4 requests pipelined; calls are counted",
    redis: {
      commands: ["set", "get", "incr", "lpush"],
      calls: 60_000,
      connections: 30,
      pipeline: 4,
    },
  },
  ...(["mariadb", "postgresql"] as const).map((database): Case => ({
    ...withoutWorkload,
    name: `login-${database}`,
    title: `logins that the target's ${database} refuses; connections to it are counted`,
    logins: { database, sessions: 5, seconds: 5 },
  })),
];

/** These cases by name. */
export const serviceCases: ReadonlyMap<string, Case> = new Map(
  list.map((made) => [made.name, made]),
);
