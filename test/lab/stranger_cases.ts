/** The cases with strangers at intercept's port: `strangers.ts` says what they do. Pure. */

import type { Case } from "./cases.ts";
import type { StrangersPlan } from "./replay.ts";
import { workloadNamed } from "./workloads.ts";

/** One address, whose ports strangers can announce. */
const CLIENT = "198.19.0.1";

function strangerCase(
  name: string,
  title: string,
  strangers: readonly StrangersPlan[],
  workloads: readonly string[] = ["keepalive", "short"],
  extra: Partial<Case["plan"]> = {},
): Case {
  return {
    name: `strangers-${name}`,
    title,
    lab: {},
    plan: {
      workloads: workloads.map(workloadNamed),
      clientAddresses: CLIENT,
      strangers,
      ...extra,
    },
  };
}

const some = (
  mode: StrangersPlan["mode"],
  args: string,
  host: StrangersPlan["host"] = "client",
) => ({
  host,
  mode,
  args: args.split(" "),
});

const list: readonly Case[] = [
  strangerCase("idle", "300 idle connections to intercept that only said hello", [
    some("idle", "--count 300"),
  ]),
  strangerCase("idle-1000", "1,000 idle connections to intercept that only said hello", [
    some("idle", "--count 1000"),
  ]),
  strangerCase("silent", "200 silent connections to intercept, and 100 a second with garbage", [
    some("silent", "--count 200"),
    some("garbage", "--rate 100"),
  ]),
  strangerCase(
    "announce",
    "strangers announce the replay's connections before it and all the time",
    // Also from tcpcopy's own host.
    [
      some("announce", "--count 2 --rate 3"),
      some("announce", "--count 1 --rate 1", "online"),
    ],
    ["steady", "short"],
  ),
  strangerCase("leave", "200 strangers a second that announce a connection and go", [
    some("leave", "--rate 200 --ports 1"),
  ]),
  strangerCase("leave-1000", "1,000 strangers a second that announce a connection and go", [
    some("leave", "--rate 1000 --ports 1"),
  ], ["steady"]),
  strangerCase(
    "workers",
    "300 idle strangers and some that announce, intercept with two workers",
    [some("idle", "--count 300"), some("announce", "--count 1 --rate 3", "target")],
    ["steady", "short"],
    { interceptArgs: ["--workers", "2"] },
  ),
];

/** All of them by name. */
export const strangerCases: ReadonlyMap<string, Case> = new Map(
  list.map((made) => [made.name, made]),
);
