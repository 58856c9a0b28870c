/**
 * A few ranges of sequence space, sorted and disjoint. Pure.
 *
 * Used for what arrived out of order (to be reported in SACK blocks) and for what the peer reported
 * (RFC 2018). The number of ranges is bounded: what does not fit is forgotten, which costs a
 * retransmission and never correctness.
 */

import { seqLess, seqLessEq } from "../wire/sequence.ts";

const MAX_RANGES = 16;

/** Up to 16 disjoint ranges [left, right) of sequence numbers in ascending order. */
export class RangeSet {
  readonly left = new Int32Array(MAX_RANGES);
  readonly right = new Int32Array(MAX_RANGES);
  /** Ranges in use. */
  count = 0;

  clear(): void {
    this.count = 0;
  }

  /** Adds a range, merging what it touches. Returns the index it ended in, or -1 when forgotten. */
  add(left: number, right: number): number {
    if (!seqLess(left, right)) return -1;
    let first = 0;
    while (first < this.count && seqLess(this.right[first], left)) first++;
    let last = first;
    while (last < this.count && seqLessEq(this.left[last], right)) {
      if (seqLess(this.left[last], left)) left = this.left[last];
      if (seqLess(right, this.right[last])) right = this.right[last];
      last++;
    }
    const merged = last - first;
    if (merged === 0) {
      if (this.count === MAX_RANGES) return -1;
      this.left.copyWithin(first + 1, first, this.count);
      this.right.copyWithin(first + 1, first, this.count);
      this.count++;
    } else if (merged > 1) {
      this.left.copyWithin(first + 1, last, this.count);
      this.right.copyWithin(first + 1, last, this.count);
      this.count -= merged - 1;
    }
    this.left[first] = left;
    this.right[first] = right;
    return first;
  }

  /** Forgets everything before `sequence`. Returns where the run that covers `sequence` ends. */
  advance(sequence: number): number {
    let drop = 0;
    let end = sequence;
    while (drop < this.count && seqLessEq(this.left[drop], end)) {
      if (seqLess(end, this.right[drop])) end = this.right[drop];
      drop++;
    }
    if (drop > 0) {
      this.left.copyWithin(0, drop, this.count);
      this.right.copyWithin(0, drop, this.count);
      this.count -= drop;
    }
    return end;
  }

  /** The range that holds `sequence`, or -1. */
  find(sequence: number): number {
    for (let i = 0; i < this.count; i++) {
      if (seqLess(sequence, this.left[i])) return -1;
      if (seqLess(sequence, this.right[i])) return i;
    }
    return -1;
  }

  /** Bytes covered. */
  get bytes(): number {
    let total = 0;
    for (let i = 0; i < this.count; i++) total += (this.right[i] - this.left[i]) | 0;
    return total;
  }
}
