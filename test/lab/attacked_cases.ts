/**
 * The cases with an attacker beside the clients, named `attacked/KIND`. Pure.
 *
 * The dose is one for the tests; `--attack PACKETS@PER_SECOND` gives another.
 */

import type { Case } from "./cases.ts";
import { workloadNamed } from "./workloads.ts";

/** How much. */
export interface Attack {
  /** What the attacker sends; see `attacker.ts`. */
  kind: string;
  packets: number;
  perSecond: number;
}

const titles: Record<string, string> = {
  syns: "SYNs of nobody's",
  strays: "data of nobody's in mid-stream",
  joins: "requests of nobody's in mid-stream",
  connections: "whole connections of nobody's, with made-up acknowledgements",
  clients: "resets, ends, data and SYNs in clients' names",
  targets: "resets and SYNs in the target's name",
};

export const attackedCases: ReadonlyMap<string, Case> = new Map(
  Object.entries(titles).map(([kind, title]) => {
    const name = `attacked/${kind}`;
    return [name, {
      name,
      title,
      lab: {},
      plan: {
        workloads: [
          { ...workloadNamed("keepalive"), gapMs: 5 },
          { ...workloadNamed("short"), connections: 1000 },
        ],
        attack: { kind, packets: 20_000, perSecond: 10_000 },
      },
    }];
  }),
);
