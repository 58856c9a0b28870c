/**
 * Connections that ended shortly before, oldest first. Pure.
 *
 * They leave after a fixed time, so a ring is enough; when it is full the oldest leaves early.
 */

const CAPACITY = 1 << 16;

/** A bounded first-in first-out of (address, word, expiry). */
export class ClosedQueue {
  readonly #holdMs: number;
  readonly #address = new Int32Array(CAPACITY);
  readonly #word = new Int32Array(CAPACITY);
  readonly #expiresAtMs = new Float64Array(CAPACITY);
  #head = 0;
  #count = 0;
  readonly #onExpired: (address: number, word: number, mayStay: boolean) => boolean;

  /**
   * @param holdMs how long a connection stays
   * @param onExpired called for every connection whose time has come; when it may stay, true keeps
   * it for the same time once more
   */
  constructor(
    holdMs: number,
    onExpired: (address: number, word: number, mayStay: boolean) => boolean,
  ) {
    this.#holdMs = holdMs;
    this.#onExpired = onExpired;
  }

  get size(): number {
    return this.#count;
  }

  push(address: number, word: number, nowMs: number): void {
    if (this.#count === CAPACITY) this.#pop(false, nowMs);
    const at = (this.#head + this.#count) & (CAPACITY - 1);
    this.#address[at] = address;
    this.#word[at] = word;
    this.#expiresAtMs[at] = nowMs + this.#holdMs;
    this.#count++;
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
    this.#head = (at + 1) & (CAPACITY - 1);
    this.#count--;
    const address = this.#address[at];
    const word = this.#word[at];
    if (this.#onExpired(address, word, mayStay) && mayStay) this.push(address, word, nowMs);
  }
}
