/**
 * Captured connections whose clients have proved nothing yet: a few bytes for each, a bounded number,
 * the oldest leaves first. Pure.
 *
 * A flood of made-up clients fills this table and no other. What `first`, `second` and `state` mean is
 * the owner's business.
 */

import { FlowTable } from "./flow_table.ts";

const NONE = -1;

/** Maps (address, word) to three integers, in order of arrival. */
export class UnprovenTable {
  readonly address: Int32Array;
  readonly word: Int32Array;
  readonly first: Int32Array;
  readonly second: Int32Array;
  readonly state: Int32Array;
  readonly #flows = new FlowTable();
  readonly #cameAtMs: Float64Array;
  /** Neighbours in order of arrival; of entries that are free `#newer` is the next free one. */
  readonly #older: Int32Array;
  readonly #newer: Int32Array;
  #oldest = NONE;
  #newest = NONE;
  #free = NONE;
  #used = 0;
  readonly #onLeft: (entry: number) => void;

  /**
   * @param capacity most connections at a time
   * @param onLeft called for a connection that leaves without having proved itself, while it is still
   * there
   */
  constructor(capacity: number, onLeft: (entry: number) => void) {
    // Untouched memory of these takes no room.
    this.address = new Int32Array(capacity);
    this.word = new Int32Array(capacity);
    this.first = new Int32Array(capacity);
    this.second = new Int32Array(capacity);
    this.state = new Int32Array(capacity);
    this.#cameAtMs = new Float64Array(capacity);
    this.#older = new Int32Array(capacity);
    this.#newer = new Int32Array(capacity);
    this.#onLeft = onLeft;
  }

  get size(): number {
    return this.#flows.size;
  }

  /** The connection's entry, or -1. */
  find(address: number, word: number): number {
    return this.#flows.size === 0 ? NONE : this.#flows.get(address, word);
  }

  /** Adds a connection that is not there yet. Where there is no room the oldest one leaves. */
  add(address: number, word: number, nowMs: number): number {
    if (this.size === this.address.length) this.#leave(this.#oldest);
    let entry = this.#free;
    if (entry === NONE) entry = this.#used++;
    else this.#free = this.#newer[entry];
    this.address[entry] = address;
    this.word[entry] = word;
    this.#cameAtMs[entry] = nowMs;
    this.#older[entry] = this.#newest;
    this.#newer[entry] = NONE;
    if (this.#newest === NONE) this.#oldest = entry;
    else this.#newer[this.#newest] = entry;
    this.#newest = entry;
    this.#flows.set(address, word, entry);
    return entry;
  }

  /** Takes a connection out without a word. */
  remove(entry: number): void {
    const older = this.#older[entry];
    const newer = this.#newer[entry];
    if (older === NONE) this.#oldest = newer;
    else this.#newer[older] = newer;
    if (newer === NONE) this.#newest = older;
    else this.#older[newer] = older;
    this.#flows.delete(this.address[entry], this.word[entry]);
    this.#newer[entry] = this.#free;
    this.#free = entry;
  }

  /** Lets the connections go that came before this time. */
  expire(beforeMs: number): void {
    while (this.#oldest !== NONE && this.#cameAtMs[this.#oldest] < beforeMs) {
      this.#leave(this.#oldest);
    }
  }

  #leave(entry: number): void {
    this.#onLeft(entry);
    this.remove(entry);
  }
}
