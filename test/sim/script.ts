/**
 * What one client says to the online server, and how long the answers are there and at the target.
 * Pure.
 *
 * The target's application knows the scripts: it recognises a connection by the header of its first
 * request and from then on compares every byte with the script's.
 */

import type { Random } from "./random.ts";

/** How requests follow each other. */
export type Pace = "ping-pong" | "pipelined" | "overlapping";

/** How the captured connection ends. */
export const Ending = {
  /** The client closes after having read everything. */
  ClientFin: 0,
  /** The client shuts its direction down before the last answer. */
  HalfClose: 1,
  /** The server closes after the last answer, then the client. */
  ServerFin: 2,
  /** The client resets after its last request. */
  Reset: 3,
  /** The client closes and then resets. */
  FinReset: 4,
  /** Nothing is captured of an ending. */
  Open: 5,
} as const;
export type Ending = typeof Ending[keyof typeof Ending];

/** One request; the bytes [start, end) of the client's stream. */
export interface ScriptRequest {
  readonly index: number;
  readonly start: number;
  readonly end: number;
  /** How many answers the client waits for before sending it; answer 0 is the greeting. */
  readonly requires: number;
  /** Answer of the online server, bytes. */
  readonly onlineBytes: number;
  /** Answer of the target, bytes. */
  readonly targetBytes: number;
  /**
   * How many answers (the greeting included) the client had certainly read when it sent the request:
   * everything up to the last one that had bytes. Set when the captured stream is made.
   */
  answersRead: number;
}

/** One connection of a client. */
export interface Script {
  readonly id: number;
  readonly clientAddress: number;
  readonly clientPort: number;
  readonly clientSequence: number;
  readonly serverSequence: number;
  readonly startMs: number;
  readonly pace: Pace;
  readonly ending: Ending;
  /** Whether the server, here and there, closes after the last answer. */
  readonly serverCloses: boolean;
  readonly stream: Uint8Array;
  readonly requests: ScriptRequest[];
  /** What the online server says unasked, bytes. */
  readonly greetingBytes: number;
  /** Longest pause of the client between reading and writing. */
  readonly thinkMs: number;
  /** Bytes of the first request that come with the SYN (RFC 7413). */
  readonly fastOpenBytes: number;
  readonly mss: number;
  readonly windowScale: number;
  readonly timestamps: boolean;
  readonly sackPermitted: boolean;
}

/** What kind of script to make. */
export interface ScriptShape {
  id: number;
  clientAddress: number;
  clientPort: number;
  clientSequence: number;
  startMs: number;
  pace: Pace;
  ending: Ending;
  /** How many requests. */
  requestCount: number;
  /** Largest request and largest answer, bytes. */
  maxRequestBytes: number;
  maxAnswerBytes: number;
  minAnswerBytes: number;
  greetingBytes: number;
  thinkMs: number;
  /** Whether the SYN carries bytes. */
  fastOpen: boolean;
  /** Whether the target's answers may differ in length from the online server's. */
  lengths: "equal" | "shorter" | "longer" | "mixed";
  /** Whether every request must be recognisable on its own (a fresh connection may begin with it). */
  recognisable: boolean;
  /** Whether some requests have no answer. */
  silentRequests: boolean;
  /** Share of the requests that the online server answers, and the target does not. */
  unansweredShare: number;
}

/** Length of the header by which the target recognises a request. */
export const REQUEST_HEADER_BYTES = 5;
const HEADER_MARK = 0xa5;
const TINY_MARK = 0x80;

/** Makes a script. */
export function makeScript(random: Random, shape: ScriptShape): Script {
  const requests: ScriptRequest[] = [];
  let at = 0;
  let requires = 1;
  let group = 1;
  for (let index = 0; index < shape.requestCount; index++) {
    if (shape.pace === "ping-pong" || --group === 0) {
      requires = index + 1;
      group = random.int(1, 4);
    }
    if (shape.pace === "overlapping") requires = Math.max(requires, index + 1 - random.int(0, 3));
    const smallest = shape.recognisable ? REQUEST_HEADER_BYTES : 1;
    const bytes = random.size(smallest, shape.maxRequestBytes);
    const isSilent = shape.silentRequests && random.chance(0.2);
    const onlineBytes = isSilent ? 0 : random.size(shape.minAnswerBytes, shape.maxAnswerBytes);
    requests.push({
      index,
      start: at,
      end: at + bytes,
      requires: Math.min(requires, index + 1),
      onlineBytes,
      targetBytes: targetLength(random, shape, onlineBytes),
      answersRead: 0,
    });
    at += bytes;
  }
  const timestamps = random.chance(0.6);
  return {
    id: shape.id,
    clientAddress: shape.clientAddress,
    clientPort: shape.clientPort,
    clientSequence: shape.clientSequence,
    serverSequence: random.int32(),
    startMs: shape.startMs,
    pace: shape.pace,
    ending: shape.ending,
    serverCloses: shape.ending === Ending.ServerFin && requests.length > 0,
    stream: makeStream(shape.id, requests),
    requests,
    greetingBytes: shape.greetingBytes,
    thinkMs: shape.thinkMs,
    fastOpenBytes: shape.fastOpen ? Math.min(500, requests[0]?.end ?? 0) : 0,
    mss: random.pick([1460, 1460, 1448, 1400, 536]) - (timestamps ? 12 : 0),
    windowScale: random.pick([-1, 0, 7, 7, 9]),
    timestamps,
    sackPermitted: random.chance(0.8),
  };
}

function targetLength(random: Random, shape: ScriptShape, onlineBytes: number): number {
  if (onlineBytes === 0 || random.chance(shape.unansweredShare)) return 0;
  const kind = shape.lengths === "mixed"
    ? random.pick(["equal", "shorter", "longer"])
    : shape.lengths;
  if (kind === "shorter") return random.int(1, onlineBytes);
  if (kind === "longer") return onlineBytes + random.size(1, shape.maxAnswerBytes);
  return onlineBytes;
}

/** The client's bytes: a header at the front of each request that has room for it, then a pattern. */
function makeStream(id: number, requests: readonly ScriptRequest[]): Uint8Array {
  const stream = new Uint8Array(requests.at(-1)?.end ?? 0);
  for (let i = 0; i < stream.length; i++) {
    stream[i] = Math.imul(i, 167) + Math.imul(i >>> 8, 13) + Math.imul(id, 29);
  }
  for (const { index, start, end } of requests) {
    if (end - start < REQUEST_HEADER_BYTES) {
      if (index === 0) stream[start] = TINY_MARK | id;
      continue;
    }
    stream[start] = HEADER_MARK;
    stream[start + 1] = id >>> 8;
    stream[start + 2] = id;
    stream[start + 3] = index >>> 8;
    stream[start + 4] = index;
  }
  return stream;
}

/**
 * Recognises the first request of a connection.
 *
 * @returns undefined while more bytes are needed, null when this is no beginning of a request
 */
export function recognise(bytes: Uint8Array): { id: number; index: number } | null | undefined {
  if (bytes.length === 0) return undefined;
  if (bytes[0] !== HEADER_MARK) {
    return (bytes[0] & 0xe0) === TINY_MARK ? { id: bytes[0] & 0x1f, index: 0 } : null;
  }
  if (bytes.length < REQUEST_HEADER_BYTES) return undefined;
  return { id: (bytes[1] << 8) | bytes[2], index: (bytes[3] << 8) | bytes[4] };
}
