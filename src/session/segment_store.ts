/**
 * The pool of captured segments that wait for the target. Pure.
 *
 * A segment is a run of payload bytes inside one block. Its fields lie in parallel arrays indexed by
 * the segment's number, so that queues of segments are linked lists of integers and nothing is
 * allocated per packet.
 */

import { copyBytes } from "../wire/copy.ts";
import { type BlockPool, grown } from "./block_pool.ts";

/** No segment: the end of a list. */
export const NONE = -1;

/** Properties of a stored segment. */
export const SegmentFlag = {
  /** The captured segment carried PSH, or was the last piece of one that did. */
  Push: 1,
  /** The first bytes the client sent after having read a new piece of the answer. */
  TurnStart: 2,
} as const;

/** Stored segments, in parallel arrays. */
export class SegmentStore {
  readonly pool: BlockPool;
  /** Next segment of the list, or NONE. */
  next = new Int32Array(0);
  /** Sequence number of the first byte: the captured one while out of order, then the replayed one. */
  sequence = new Int32Array(0);
  /** Payload bytes. */
  length = new Int32Array(0);
  /**
   * While out of order: the captured acknowledgement number. Once queued: how many bytes of answer
   * the client had read since its previous turn (meaningful with TurnStart).
   */
  answer = new Int32Array(0);
  /** When it was captured, ms, int32. */
  capturedAtMs = new Int32Array(0);
  /** SegmentFlag bits. */
  flags = new Uint8Array(0);
  #block = new Int32Array(0);
  #offset = new Int32Array(0);
  #free = NONE;
  #used = 0;

  constructor(pool: BlockPool) {
    this.pool = pool;
  }

  /** Segments in use. */
  get used(): number {
    return this.#used;
  }

  /**
   * Stores payload.
   *
   * @param tail the segment stored last for the same session, whose block may have room, or NONE
   * @returns the segment's number, or NONE when memory is used up
   */
  store(view: DataView, offset: number, length: number, tail: number): number {
    const pool = this.pool;
    let block = -1;
    let at = 0;
    if (tail !== NONE) {
      const last = this.#block[tail];
      at = pool.writtenTo[last];
      if (pool.offsetOf(last) + pool.blockBytes - at >= length) {
        block = last;
        pool.retain(block);
      }
    }
    if (block === -1) {
      block = pool.take();
      if (block === -1) return NONE;
      at = pool.offsetOf(block);
    }
    const segment = this.#take();
    copyBytes(view, offset, pool.viewOf(block), at, length);
    this.next[segment] = NONE;
    this.length[segment] = length;
    this.answer[segment] = 0;
    this.flags[segment] = 0;
    this.#block[segment] = block;
    this.#offset[segment] = at;
    pool.writtenTo[block] = at + length;
    return segment;
  }

  /** One payload byte. */
  byteAt(segment: number, at: number): number {
    return this.pool.viewOf(this.#block[segment]).getUint8(this.#offset[segment] + at);
  }

  /** Copies `length` payload bytes from `from` within the segment to `target`. */
  copyTo(segment: number, from: number, length: number, target: DataView, at: number): void {
    const memory = this.pool.viewOf(this.#block[segment]);
    copyBytes(memory, this.#offset[segment] + from, target, at, length);
  }

  /** Drops the first `count` bytes of a segment, 0 < count < length. */
  trimFront(segment: number, count: number): void {
    this.sequence[segment] = (this.sequence[segment] + count) | 0;
    this.#offset[segment] += count;
    this.length[segment] -= count;
  }

  /** Gives a segment and its share of a block back. */
  release(segment: number): void {
    this.pool.release(this.#block[segment]);
    this.next[segment] = this.#free;
    this.#free = segment;
    this.#used--;
  }

  #take(): number {
    if (this.#free === NONE) this.#grow();
    const segment = this.#free;
    this.#free = this.next[segment];
    this.#used++;
    return segment;
  }

  #grow(): void {
    const have = this.next.length;
    const want = Math.max(1024, have * 2);
    this.next = grown(this.next, want);
    this.sequence = grown(this.sequence, want);
    this.length = grown(this.length, want);
    this.answer = grown(this.answer, want);
    this.capturedAtMs = grown(this.capturedAtMs, want);
    this.#block = grown(this.#block, want);
    this.#offset = grown(this.#offset, want);
    const flags = new Uint8Array(want);
    flags.set(this.flags);
    this.flags = flags;
    for (let segment = want - 1; segment >= have; segment--) {
      this.next[segment] = this.#free;
      this.#free = segment;
    }
  }
}
