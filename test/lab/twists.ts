/**
 * How a target's answers differ from the online server's, as data. Pure.
 *
 * The server takes a twist and asks the functions here what to do with each request. Whatever looks
 * random is determined by connection and request (and the twist's `seed`): the same in every run.
 */

import { HEADER_BYTES } from "./protocol.ts";
import { sizeFor } from "./workloads.ts";

/** The ways in which one server answers; what is not given is as the client asked for it. */
export interface Twist {
  name: string;
  /** One line for people. */
  title: string;
  /** Reply payloads the clients ask for, in bytes, instead of the workload's. */
  askedBytes?: [number, number];
  /** Reply payloads are so many times as long. */
  factor?: number;
  /** Reply payloads are so many bytes longer, or shorter if negative; never below 0. */
  addBytes?: number;
  /** Only this share of the replies has `addBytes` added or taken away, half of them each. */
  addShare?: number;
  /** Reply payloads vary by up to this share of their length, both ways. */
  varyShare?: number;
  /** Reply payloads of a random length in this range, whatever was asked for. */
  randomBytes?: [number, number];
  /** This share of the requests gets no reply at all. */
  unansweredShare?: number;
  /** The server closes a connection after so many replies. */
  repliesPerConnection?: number;
  /** Messages that nobody asked for, on every open connection, so many milliseconds apart. */
  unasked?: { meanMs: number; bytes: number };
  /** A random delay before each reply, smallest and largest, in milliseconds. */
  delayMs?: [number, number];
  /** The same on the online server, which has delays of its own. */
  onlineDelayMs?: [number, number];
  /** Each reply comes in so many pieces of about equal length. */
  pieces?: { count: number; gapMs: number };
  /** Changes all that is random. */
  seed?: number;
}

const list: Twist[] = [
  { name: "equal", title: "replies as online" },
  { name: "minus7", title: "replies 7 bytes shorter", addBytes: -7 },
  { name: "plus7", title: "replies 7 bytes longer", addBytes: 7 },
  {
    name: "mixed7",
    title: "two of five replies 7 bytes shorter or longer",
    addBytes: 7,
    addShare: 0.4,
  },
  { name: "half", title: "replies half as long", factor: 0.5 },
  { name: "double", title: "replies twice as long", factor: 2 },
  {
    name: "empty",
    title: "replies without payload, 4 kB online",
    factor: 0,
    askedBytes: [4096, 4096],
  },
  {
    name: "random",
    title: "replies of 0-60 kB, 1 kB online",
    randomBytes: [0, 60_000],
    askedBytes: [1000, 1000],
  },
  { name: "unanswered", title: "one request of a hundred gets no reply", unansweredShare: 0.01 },
  {
    name: "closes50",
    title: "the target closes after 50 replies",
    repliesPerConnection: 50,
  },
  { name: "closes1", title: "the target closes after each reply", repliesPerConnection: 1 },
  {
    name: "unasked",
    title: "messages nobody asked for, 10 a second on each connection",
    unasked: { meanMs: 100, bytes: 60 },
  },
  {
    name: "delays",
    title: "delays of 0-20 ms, others than online",
    delayMs: [0, 20],
    onlineDelayMs: [0, 20],
  },
  {
    name: "pieces5",
    title: "replies in 3 pieces, 5 ms apart",
    pieces: { count: 3, gapMs: 5 },
  },
  {
    name: "pieces20",
    title: "replies in 3 pieces, 20 ms apart",
    pieces: { count: 3, gapMs: 20 },
  },
  {
    name: "pieces5varied",
    title: "replies in 3 pieces, 5 ms apart, 30 % shorter to 30 % longer",
    pieces: { count: 3, gapMs: 5 },
    varyShare: 0.3,
  },
];

/** All twists by name. */
export const twists: ReadonlyMap<string, Twist> = new Map(list.map((twist) => [twist.name, twist]));

/** The twist of a server that answers as it is asked to. */
export const plainTwist: Twist = list[0];

/**
 * The twist of that name.
 *
 * @throws Error naming those there are
 */
export function twistNamed(name: string): Twist {
  const found = twists.get(name);
  if (found === undefined) {
    throw new Error(`unknown twist "${name}": there are ${[...twists.keys()].join(", ")}`);
  }
  return found;
}

/** Understands a command line's twist: a name or JSON. */
export function parseTwist(text: string): Twist {
  return text.startsWith("{") ? JSON.parse(text) as Twist : twistNamed(text);
}

/** What the online server does differently when the target has `twist`; mostly nothing. */
export function onlineTwist(twist: Twist): Twist {
  if (twist.onlineDelayMs === undefined) return plainTwist;
  return {
    ...plainTwist,
    name: `${twist.name} online`,
    delayMs: twist.onlineDelayMs,
    seed: (twist.seed ?? 0) + 1,
  };
}

/** What of a request decides on its reply. */
export interface Asked {
  connectionId: number;
  requestNumber: number;
  /** Payload asked for. */
  replyBytes: number;
}

/** What a random number is for, so that no two of them go together. */
const Salt = { Length: 100, Unanswered: 200, Delay: 300 } as const;
/** Random shares come in steps of this. */
const STEPS = 10_000;

/** A number in [smallest, largest] for this request. */
function randomFor(twist: Twist, asked: Asked, salt: number, range: readonly [number, number]) {
  const { connectionId, requestNumber } = asked;
  return sizeFor(range, connectionId, requestNumber, salt + (twist.seed ?? 0));
}

/** Payload bytes of the reply to a request. */
export function replyPayloadBytes(twist: Twist, asked: Asked): number {
  if (twist.randomBytes !== undefined) {
    return randomFor(twist, asked, Salt.Length, twist.randomBytes);
  }
  let bytes = asked.replyBytes * (twist.factor ?? 1);
  if (twist.varyShare !== undefined) {
    bytes *= 1 + twist.varyShare * randomFor(twist, asked, Salt.Length, [-STEPS, STEPS]) / STEPS;
  }
  if (twist.addBytes !== undefined) bytes += twist.addBytes * signOfAddition(twist, asked);
  return Math.max(0, Math.floor(bytes));
}

/** 1 or, where only some replies differ, 0 or -1 as well. */
function signOfAddition(twist: Twist, asked: Asked): number {
  if (twist.addShare === undefined) return 1;
  const at = randomFor(twist, asked, Salt.Length, [0, STEPS - 1]) / STEPS;
  if (at >= twist.addShare) return 0;
  return at < twist.addShare / 2 ? -1 : 1;
}

/** Whether the request gets no reply. */
export function isUnanswered(twist: Twist, asked: Asked): boolean {
  if (twist.unansweredShare === undefined) return false;
  const at = randomFor(twist, asked, Salt.Unanswered, [0, STEPS - 1]) / STEPS;
  return at < twist.unansweredShare;
}

/** Milliseconds to wait before the reply. */
export function replyDelayMs(twist: Twist, asked: Asked): number {
  return twist.delayMs === undefined ? 0 : randomFor(twist, asked, Salt.Delay, twist.delayMs);
}

/** Where the pieces of a reply end, the last one at `replyBytes`; a whole frame, header included. */
export function pieceEnds(twist: Twist, frameBytes: number): number[] {
  const count = Math.min(twist.pieces?.count ?? 1, Math.max(1, frameBytes));
  return Array.from({ length: count }, (_, i) => Math.round(frameBytes * (i + 1) / count));
}

/** Milliseconds before the `number`-th unasked message of a connection: exponential. */
export function unaskedPauseMs(
  { meanMs }: { meanMs: number },
  connection: number,
  number: number,
): number {
  const share = sizeFor([1, STEPS], connection, number, 400) / STEPS;
  return -meanMs * Math.log(share);
}

/** Payload bytes of an unasked message that is `bytes` long in all. */
export function unaskedPayloadBytes({ bytes }: { bytes: number }): number {
  return Math.max(0, bytes - HEADER_BYTES);
}
