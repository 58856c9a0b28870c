/**
 * Twists as an nginx can have them: other bodies, other keep-alive settings. Pure.
 */

import type { Twist } from "./twists.ts";

/** What an nginx answers by default. */
const USUAL_BODY = `a reply of some hundred bytes: ${"x".repeat(200)}\\n`;
/** Its length: the line feed is written with two characters. */
const USUAL_BYTES = USUAL_BODY.length - 1;
/** Lengths of random bodies, and how many of a hundred have them; a hundred in all. */
const RANDOM_BODIES: readonly (readonly [bytes: number, percent: number])[] = [
  [0, 20],
  [100, 30],
  [1_000, 30],
  [3_000, 15],
  [20_000, 5],
];
/** A configuration's words are limited to 4 kB; longer bodies are put together from this one. */
const BLOCK_BYTES = 1_000;
/** By this nginx chooses a body: the same in every run in which the connections are the same. */
const CHOICE = '"$connection.$connection_requests"';

/** The lines of an nginx configuration in which twists differ. */
export interface NginxAnswers {
  /** In the http block, besides the body. */
  http: string;
  /** What `return 200` takes. */
  body: string;
}

/** Answers of an nginx without a twist. */
export const usualAnswers: NginxAnswers = { http: keepAliveRequests(), body: USUAL_BODY };

function keepAliveRequests(count = 100_000_000): string {
  return `keepalive_requests ${count};`;
}

/** The answers of an nginx with this twist; `undefined`: it cannot have it. */
export function nginxAnswers(twist: Twist): NginxAnswers | undefined {
  const { factor, addBytes, addShare, randomBytes, repliesPerConnection } = twist;
  if (
    twist.delayMs || twist.pieces || twist.unasked || twist.unansweredShare || twist.varyShare
  ) return undefined;
  if (repliesPerConnection === 1) return { ...usualAnswers, http: "keepalive_timeout 0;" };
  if (repliesPerConnection !== undefined) {
    return { ...usualAnswers, http: keepAliveRequests(repliesPerConnection) };
  }
  if (randomBytes !== undefined) return randomAnswers();
  const bytes = USUAL_BYTES * (factor ?? 1);
  if (addBytes !== undefined && addShare !== undefined) return mixedAnswers(addBytes, addShare);
  if (factor === undefined && addBytes === undefined) return usualAnswers;
  return { ...usualAnswers, body: "x".repeat(Math.max(0, Math.floor(bytes + (addBytes ?? 0)))) };
}

/** Some bodies shorter, as many longer. */
function mixedAnswers(addBytes: number, addShare: number): NginxAnswers {
  const percent = addShare * 50;
  const body = (bytes: number) => `"${"x".repeat(bytes)}"`;
  const http = `${keepAliveRequests()}
  split_clients ${CHOICE} $body {
    ${percent}% ${body(USUAL_BYTES - addBytes)};
    ${percent}% ${body(USUAL_BYTES + addBytes)};
    * ${body(USUAL_BYTES)};
  }`;
  return { http, body: "$body" };
}

function randomAnswers(): NginxAnswers {
  const sizes = RANDOM_BODIES.map(([bytes, percent], i) =>
    `${i === RANDOM_BODIES.length - 1 ? "*" : `${percent}%`} ${bytes};`
  );
  const bodies = RANDOM_BODIES.map(([bytes]) => {
    const blocks = "${block}".repeat(Math.floor(bytes / BLOCK_BYTES));
    return `${bytes} "${blocks}${"x".repeat(bytes % BLOCK_BYTES)}";`;
  });
  const http = `${keepAliveRequests()}
  map "" $block { default "${"x".repeat(BLOCK_BYTES)}"; }
  split_clients ${CHOICE} $size {
    ${sizes.join("\n    ")}
  }
  map $size $body {
    ${bodies.join("\n    ")}
  }`;
  return { http, body: "$body" };
}
