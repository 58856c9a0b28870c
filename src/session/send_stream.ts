/**
 * The bytes one session still owes its target, as a queue of stored segments. Pure.
 *
 * The stream has a sequence space of its own. It always covers the contiguous range [start, end):
 * segments enter at the end in order and leave at the start when the target has acknowledged them.
 */

import { seqDiff, seqLess, seqLessEq } from "../wire/sequence.ts";
import { NONE, type SegmentStore } from "./segment_store.ts";

/** A queue of payload waiting to be sent or acknowledged. */
export class SendStream {
  /** First segment held, or NONE. */
  head = NONE;
  /** Last segment held, or NONE. */
  tail = NONE;
  /** Sequence number behind the last byte. */
  end = 0;
  readonly #store: SegmentStore;

  constructor(store: SegmentStore) {
    this.#store = store;
  }

  /** Sequence number of the first byte held; `end` when empty. */
  get start(): number {
    return this.head === NONE ? this.end : this.#store.sequence[this.head];
  }

  /** Bytes held. */
  get bytes(): number {
    return seqDiff(this.end, this.start);
  }

  /** Sets where the stream begins; what it holds is numbered anew. Nothing may have been sent. */
  startAt(sequence: number): void {
    const store = this.#store;
    let at = sequence;
    for (let segment = this.head; segment !== NONE; segment = store.next[segment]) {
      store.sequence[segment] = at;
      at = (at + store.length[segment]) | 0;
    }
    this.end = at;
  }

  /** Appends a stored segment; its sequence number becomes the stream's. */
  push(segment: number): void {
    const store = this.#store;
    store.sequence[segment] = this.end;
    store.next[segment] = NONE;
    if (this.tail === NONE) this.head = segment;
    else store.next[this.tail] = segment;
    this.tail = segment;
    this.end = (this.end + store.length[segment]) | 0;
  }

  /** Releases every segment that lies wholly before `sequence`. */
  releaseTo(sequence: number): void {
    const store = this.#store;
    while (this.head !== NONE) {
      const behind = (store.sequence[this.head] + store.length[this.head]) | 0;
      if (seqLess(sequence, behind)) return;
      const next = store.next[this.head];
      store.release(this.head);
      this.head = next;
    }
    this.tail = NONE;
  }

  /** The segment that holds the byte `sequence`, searched from `from` on, or NONE. */
  find(sequence: number, from: number): number {
    const store = this.#store;
    let segment = from;
    if (segment === NONE || seqLess(sequence, store.sequence[segment])) segment = this.head;
    while (segment !== NONE) {
      if (seqLess(sequence, (store.sequence[segment] + store.length[segment]) | 0)) {
        return seqLessEq(store.sequence[segment], sequence) ? segment : NONE;
      }
      segment = store.next[segment];
    }
    return NONE;
  }

  /** Releases everything. */
  clear(): void {
    this.releaseTo(this.end);
  }
}
