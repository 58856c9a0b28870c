/**
 * The cases whose target answers otherwise than the online server: workloads by twists. Pure.
 *
 * They are named `WORKLOAD/TWIST`, for example `keepalive/minus7`. They are no part of `cases`: what
 * is measured here is how far a replay gets, which for some of them cannot be all the way.
 */

import type { Case } from "./cases.ts";
import type { NginxLoad } from "./nginx.ts";
import { nginxAnswers } from "./nginx_twists.ts";
import { type Twist, twists } from "./twists.ts";
import { type Workload, workloadNamed } from "./workloads.ts";

/** Nothing that has not come for so long will come. */
const QUIET_MS = 6_000;
/** A replay that is slower than this is not waited for. */
const DRAIN_MS = 25_000;

/**
 * Workloads of the framed server that every twist is combined with. Those that are over in a tenth
 * of a second have more to do: what reaches the target by their end would be chance. They go as
 * fast as they can; with a pause between requests (`--gap-ms`) the share is steadier, and less of
 * what can go wrong does.
 */
const framed: readonly Workload[] = [
  workloadNamed("keepalive"),
  workloadNamed("short"),
  { ...workloadNamed("pipelined"), requests: 400, title: "10 requests pipelined, 400 in all" },
  { ...workloadNamed("greeting"), connections: 1000 },
  { ...workloadNamed("half-close"), connections: 1000 },
];

function framedCase(workload: Workload, twist: Twist): Case {
  const base = workload.name;
  const { askedBytes } = twist;
  return {
    name: `${base}/${twist.name}`,
    title: `${workload.title}; ${twist.title}`,
    lab: {},
    plan: {
      workloads: [{ ...workload, ...(askedBytes && { replyBytes: askedBytes }) }],
      twist,
      quietMs: QUIET_MS,
      drainMs: DRAIN_MS,
    },
    twisted: { base, twist: twist.name },
  };
}

/** Loads of nginx that are combined with the twists nginx can have. */
const nginxLoads: readonly { name: string; title: string; load: NginxLoad }[] = [
  {
    name: "nginx-keepalive",
    title: "nginx under wrk, 20 connections, 5 s",
    load: { closes: false, connections: 20, seconds: 5 },
  },
  {
    name: "nginx-rate",
    title: "nginx at 4,500 requests a second on 20 connections, 8 s",
    load: { closes: false, connections: 20, seconds: 8, requestsPerSecond: 4500 },
  },
];

function nginxCases({ name, title, load }: typeof nginxLoads[number]): Case[] {
  const possible = [...twists.values()].filter((twist) => nginxAnswers(twist) !== undefined);
  return possible.map((twist) => ({
    name: `${name}/${twist.name}`,
    title: `${title}; ${twist.title}`,
    lab: {},
    plan: { workloads: [], twist },
    nginx: load,
    twisted: { base: name, twist: twist.name },
  }));
}

const list: Case[] = framed.flatMap((workload) =>
  [...twists.values()].map((twist) => framedCase(workload, twist))
);
list.push(...nginxLoads.flatMap(nginxCases));

/** All twisted cases by name. */
export const twistedCases: ReadonlyMap<string, Case> = new Map(
  list.map((made) => [made.name, made]),
);

/**
 * The cases of these twists, by workload, the untwisted one of each first: the others are measured
 * against it.
 *
 * @param twistNames "all" for every one
 * @param bases workloads; by default all there are
 * @throws Error naming the twists there are, or the workloads
 */
export function combinations(
  twistNames: readonly string[],
  bases: readonly string[] = [],
): Case[] {
  const known = [...new Set(list.map(({ twisted }) => twisted?.base ?? ""))];
  const unknown = [
    ...twistNames.filter((name) => name !== "all" && !twists.has(name)),
    ...bases.filter((name) => !known.includes(name)),
  ];
  if (unknown.length > 0) {
    throw new Error(
      `no twisted case with ${unknown.join(", ")}: there are the twists ` +
        `${[...twists.keys()].join(", ")} with the workloads ${known.join(", ")}`,
    );
  }
  const isWanted = (twist: string) =>
    twist === "equal" || twistNames.includes("all") || twistNames.includes(twist);
  return list.filter(({ twisted }) =>
    twisted !== undefined && isWanted(twisted.twist) &&
    (bases.length === 0 || bases.includes(twisted.base))
  );
}
