/**
 * Connections that ended shortly before, oldest first. Pure.
 *
 * They leave after a fixed time, so a ring is enough; when it is full the oldest leaves early. The
 * same connection may end again while it is here: each time is an entry of its own, with a number, by
 * which its owner tells the latest from those before.
 */

/** Most entries; their numbers are below this. */
export const CLOSED_ENTRIES = 1 << 16;

/** Told of an entry that leaves: its connection, its number, and whether it may be pushed again. */
export type OnExpired = (
  address: number,
  word: number,
  entry: number,
  mayStay: boolean,
  nowMs: number,
) => void;

/** A bounded first-in first-out of (address, word, expiry). */
export class ClosedQueue {
  readonly #holdMs: number;
  readonly #address = new Int32Array(CLOSED_ENTRIES);
  readonly #word = new Int32Array(CLOSED_ENTRIES);
  readonly #expiresAtMs = new Float64Array(CLOSED_ENTRIES);
  #head = 0;
  #count = 0;
  readonly #onExpired: OnExpired;

  /**
   * @param holdMs how long a connection stays
   * @param onExpired called for every entry whose time has come, when it is no longer there
   */
  constructor(holdMs: number, onExpired: OnExpired) {
    this.#holdMs = holdMs;
    this.#onExpired = onExpired;
  }

  get size(): number {
    return this.#count;
  }

  /** @returns the entry's number, which no other has as long as it is here */
  push(address: number, word: number, nowMs: number): number {
    if (this.#count === CLOSED_ENTRIES) this.#pop(false, nowMs);
    const at = (this.#head + this.#count) & (CLOSED_ENTRIES - 1);
    this.#address[at] = address;
    this.#word[at] = word;
    this.#expiresAtMs[at] = nowMs + this.#holdMs;
    this.#count++;
    return at;
  }

  /** Forgets all connections without a word. */
  clear(): void {
    this.#count = 0;
  }

  /** Lets every connection go whose time has come. */
  expire(nowMs: number): void {
    while (this.#count > 0 && this.#expiresAtMs[this.#head] <= nowMs) this.#pop(true, nowMs);
  }

  #pop(mayStay: boolean, nowMs: number): void {
    const at = this.#head;
    this.#head = (at + 1) & (CLOSED_ENTRIES - 1);
    this.#count--;
    this.#onExpired(this.#address[at], this.#word[at], at, mayStay, nowMs);
  }
}
