/** The options that choose the sessions which are replayed. */

import { object } from "@optique/core/constructs";
import { message } from "@optique/core/message";
import { optional, withDefault } from "@optique/core/modifiers";
import { option } from "@optique/core/primitives";
import { choice, integer, string } from "@optique/core/valueparser";
import { UsageError } from "../cli/fatal.ts";
import { parseNetworks } from "../cli/networks.ts";
import { MIN_INTERVAL_S } from "../sampling/strategy.ts";
import type { SamplingRules } from "../session/client_sample.ts";

export const samplingOptions = object("Which sessions", {
  percentage: withDefault(
    option("-r", "--percentage", integer({ min: 1, max: 100, metavar: "PERCENT" }), {
      description: message`Share of the connections that is replayed.`,
    }),
    100,
  ),
  sampleBy: withDefault(
    option("--sample-by", choice(["client", "connection"], { metavar: "WHAT" }), {
      description:
        message`What -r is a share of: "connection", or "client", an address with all its connections, always the same ones; behind a load balancer few addresses stand for all.`,
    }),
    "connection" as const,
  ),
  gradual: option("-g", "--gradual", {
    description: message`Begin with one hundredth of that share and let it grow.`,
  }),
  gradualSeconds: withDefault(
    option("--gradual-seconds", integer({ min: 1, max: 86_400, metavar: "SECONDS" }), {
      description: message`How long -g takes to reach the whole share.`,
    }),
    100,
  ),
  fullOnly: option("-O", "--full-sessions", {
    description:
      message`Only sessions whose beginning is captured; connections already open are not joined.`,
  }),
  include: optional(
    option("--include-clients", string({ metavar: "NETWORKS" }), {
      description: message`Only these clients: addresses and CIDR networks, separated by commas.`,
    }),
  ),
  exclude: optional(
    option("--exclude-clients", string({ metavar: "NETWORKS" }), {
      description: message`Not these clients.`,
    }),
  ),
  strategy: optional(
    option("--strategy", string({ metavar: "FILE" }), {
      description:
        message`Begin sessions only in the sampling windows of this strategy, and none while CPU or memory are above its maxima: a Layotto configuration, or one of trafficdump. Read again when it changes.`,
    }),
  ),
  minInterval: optional(
    option("--min-interval", integer({ min: 1, max: MIN_INTERVAL_S, metavar: "SECONDS" }), {
      description: message`With --strategy: allow intervals shorter than 30 s, down to this.`,
    }),
  ),
});

/** What the options yield. */
interface GivenSampling {
  readonly percentage: number;
  readonly sampleBy: "client" | "connection";
  readonly gradual: boolean;
  readonly gradualSeconds: number;
  readonly fullOnly: boolean;
  readonly include: string | undefined;
  readonly exclude: string | undefined;
}

/** Keys of these options, as far as they may change at run time: all but those of the strategy. */
export const SAMPLING_KEYS: readonly string[] = [
  ...["percentage", "sample-by", "gradual", "gradual-seconds", "full-sessions"],
  ...["include-clients", "exclude-clients"],
];

/** The rules, and whether open connections are joined. */
export type Sampling = SamplingRules & { joins: boolean };

/**
 * Makes sense of the options. Pure.
 *
 * @throws UsageError for lists that are none
 */
export function samplingOf(given: GivenSampling): Sampling {
  return {
    percentage: given.percentage,
    percentageRampMs: given.gradual ? given.gradualSeconds * 1000 : 0,
    sampleConnections: given.sampleBy === "connection",
    joins: !given.fullOnly,
    includeClients: networks(given.include, "--include-clients"),
    excludeClients: networks(given.exclude, "--exclude-clients"),
  };
}

/** When sessions may begin: a file that says so, and the lower bound of its interval, if lifted. */
export interface SessionStrategy {
  path: string;
  minIntervalS: number | undefined;
}

/**
 * Makes sense of the options of the strategy. Pure.
 *
 * @throws UsageError for a bound without a strategy
 */
export function strategyOf(
  given: { readonly strategy: string | undefined; readonly minInterval: number | undefined },
): SessionStrategy | undefined {
  const { strategy, minInterval } = given;
  if (strategy !== undefined) return { path: strategy, minIntervalS: minInterval };
  if (minInterval !== undefined) {
    throw new UsageError("--min-interval is for sampling: name a strategy with --strategy");
  }
  return undefined;
}

function networks(text: string | undefined, option: string): Int32Array {
  return text === undefined ? new Int32Array(0) : parseNetworks(text, option);
}
