/**
 * Switches of the original that have nothing to set here. They are accepted, so that its command
 * lines work, and a line in the log says that they do nothing. Pure.
 */

import { object } from "@optique/core/constructs";
import { message } from "@optique/core/message";
import { optional } from "@optique/core/modifiers";
import { option } from "@optique/core/primitives";
import { string } from "@optique/core/valueparser";

const number = string({ metavar: "NUMBER" });

/** Those of tcpcopy. */
export const meaninglessForTcpcopy = object("Accepted for the original's sake, without effect", {
  rtt: optional(option("-R", "--default-rtt", number, {
    description: message`Round-trip times are measured, for every connection.`,
  })),
  poolSize: optional(option("-U", "--session-pool", number, {
    description: message`Sessions take the memory they need.`,
  })),
});

/** Those of intercept. */
export const meaninglessForIntercept = object("Accepted for the original's sake, without effect", {
  hashSize: optional(option("-s", "--hash-size", number, {
    description: message`The table of connections grows as needed.`,
  })),
  routeTimeout: optional(option("-t", "--route-timeout", number, {
    description: message`A route goes when tcpcopy says so or its tunnel ends.`,
  })),
});

const REASONS: Readonly<Record<string, string>> = {
  rtt: "-R has no effect here: round-trip times are measured, for every connection",
  poolSize: "-U has no effect here: sessions take the memory they need",
  hashSize: "-s has no effect here: the table of connections grows as needed",
  routeTimeout: "-t has no effect here: a route goes when tcpcopy says so or its tunnel ends",
};

/** The lines for the log, one for each of these switches that is given. */
export function meaninglessNotices(given: Readonly<Record<string, unknown>>): string[] {
  return Object.keys(REASONS).filter((key) => given[key] !== undefined).map((key) => REASONS[key]);
}
