/**
 * The bytes one session still owes its target, as a queue of stored segments. Pure.
 *
 * The stream has a sequence space of its own. It always covers the contiguous range [start, end):
 * segments enter at the end in order and leave at the start when the target has acknowledged them.
 */

import { seqDiff, seqLess, seqLessEq } from "../wire/sequence.ts";
import { NONE, type SegmentStore } from "./segment_store.ts";

/** Most bytes kept for a repetition. */
const MAX_KEPT_BYTES = 64 * 1024;

/**
 * A queue of payload waiting to be sent or acknowledged.
 *
 * One part of it, from `keepFrom` on, can be kept beyond its acknowledgement: a target that resets
 * the connection may have acknowledged what its application never read.
 */
export class SendStream {
  /** First segment held, or NONE. */
  head = NONE;
  /** Last segment held, or NONE. */
  tail = NONE;
  /** Sequence number behind the last byte. */
  end = 0;
  readonly #store: SegmentStore;
  /** Segments kept, in order; they end where the stream starts. */
  #keptHead = NONE;
  #keptTail = NONE;
  #keptBytes = 0;
  #keeps = false;
  #keepFrom = 0;

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
      if (this.#keeps && seqLessEq(this.#keepFrom, store.sequence[this.head])) {
        this.#keep(this.head);
      } else store.release(this.head);
      this.head = next;
    }
    this.tail = NONE;
  }

  /** From now on, what is acknowledged and does not lie before `sequence` is kept. */
  keepFrom(sequence: number): void {
    this.dropKept();
    this.#keeps = true;
    this.#keepFrom = sequence;
  }

  /** Keeps nothing any more. */
  dropKept(): void {
    this.#keeps = false;
    while (this.#keptHead !== NONE) {
      const next = this.#store.next[this.#keptHead];
      this.#store.release(this.#keptHead);
      this.#keptHead = next;
    }
    this.#keptTail = NONE;
    this.#keptBytes = 0;
  }

  /** Whether everything from `keepFrom` on is still there. */
  get keeps(): boolean {
    return this.#keeps;
  }

  /** Puts what was kept in front again. The stream starts where it did at `keepFrom`. */
  restoreKept(): void {
    this.#keeps = false;
    if (this.#keptHead === NONE) return;
    this.#store.next[this.#keptTail] = this.head;
    if (this.head === NONE) this.tail = this.#keptTail;
    this.head = this.#keptHead;
    this.#keptHead = NONE;
    this.#keptTail = NONE;
    this.#keptBytes = 0;
  }

  #keep(segment: number): void {
    const store = this.#store;
    this.#keptBytes += store.length[segment];
    store.next[segment] = NONE;
    if (this.#keptTail === NONE) this.#keptHead = segment;
    else store.next[this.#keptTail] = segment;
    this.#keptTail = segment;
    if (this.#keptBytes > MAX_KEPT_BYTES) this.dropKept();
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
    this.dropKept();
    this.releaseTo(this.end);
  }
}
