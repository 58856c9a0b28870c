/**
 * How connections are shared among workers: by the client's port, and by nothing else. Pure.
 *
 * The same rule holds for captured packets, for the ports of replayed connections and for the
 * target's responses, so that a connection is one worker's business all the way, and two workers
 * never use the same source port. Clients use thousands of ports, many of them only even or only odd
 * ones; the rule spreads both kinds evenly.
 */

/** One of several parts of all connections. */
export interface Partition {
  /** 0..count - 1. */
  readonly index: number;
  /** How many parts there are, at least 1. */
  readonly count: number;
}

/** Everything: the only part of one. */
export const WHOLE: Partition = { index: 0, count: 1 };

/** 2^32 divided by the golden ratio: spreads neighbouring values (multiplicative hashing). */
export const PARTITION_SPREAD = 0x9e37_79b1;
/** The upper half of the product is the part that is well mixed. */
export const PARTITION_SHIFT = 16;

/** The part the connections from a client's port are in, 0..count - 1. */
export function partitionOf(clientPort: number, count: number): number {
  return (Math.imul(clientPort, PARTITION_SPREAD) >>> PARTITION_SHIFT) % count;
}

/** Whether connections from a client's port are in this part. */
export function isInPartition(clientPort: number, { index, count }: Partition): boolean {
  return count === 1 || partitionOf(clientPort, count) === index;
}
