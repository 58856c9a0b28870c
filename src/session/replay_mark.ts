/**
 * How a tcpcopy knows what another one has sent: marks in fields of the SYN that mean nothing to a
 * server. Pure.
 *
 * Two tcpcopies whose targets are each other's services would replay one connection to and fro without
 * end. So a replayed SYN's identification (RFC 6864: of no meaning in a packet that is not to be
 * fragmented), its window (the next segment says a new one) and the lowest byte of its sequence number
 * follow from the rest of the sequence number. Nothing of it is secret; 40 bits do not fit by chance,
 * and no address takes part, so address translation on the way does not matter.
 */

import type { Packet } from "../wire/packet.ts";
import { mix } from "./address_pool.ts";

/** Replays in a row that can be told apart; the last one counts for all that come after. */
export const MAX_GENERATIONS = 4;

const SEQUENCE_KEY = 0x5bd1e995;
const FIELDS_KEY = 0x27d4eb2f;
const MIN_WINDOW = 1024;

/** The initial sequence number with a mark in place of its lowest byte; it stays below the next 256. */
export function markedSequence(sequence: number): number {
  return (sequence & ~0xff) | (mix((sequence >>> 8) ^ SEQUENCE_KEY) & 0xff);
}

/**
 * The identification of a marked SYN, 1..65535.
 *
 * @param generation 1 for the replay of a real client, one more for each replay of a replay
 */
export function markedIdentification(sequence: number, generation: number): number {
  return (hashOf(sequence, generation) & 0xffff) || 1;
}

/** The window of a marked SYN, 1024..65535. */
export function markedWindow(sequence: number, generation: number): number {
  const window = mix(hashOf(sequence, generation)) & 0xffff;
  return window < MIN_WINDOW ? window + MIN_WINDOW : window;
}

/** How many replays a captured SYN has behind it; 0 for a real client's. */
export function generationOf({ view, ipOffset, ipVersion, sequence, window }: Packet): number {
  if (ipVersion !== 4 || markedSequence(sequence) !== sequence) return 0;
  const identification = view.getUint16(ipOffset + 4);
  for (let generation = 1; generation <= MAX_GENERATIONS; generation++) {
    if (
      markedIdentification(sequence, generation) === identification &&
      markedWindow(sequence, generation) === window
    ) return generation;
  }
  return 0;
}

function hashOf(sequence: number, generation: number): number {
  return mix((sequence ^ FIELDS_KEY) + Math.imul(generation, SEQUENCE_KEY));
}
