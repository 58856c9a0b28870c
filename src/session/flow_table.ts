/**
 * A hash table from a flow to a small integer. Pure.
 *
 * The key is two 32-bit words: an IPv4 address, and a port in the upper with a context number in the
 * lower half of the second. Open addressing over one typed array, so that a look-up neither
 * allocates nor compares strings; deletion shifts the following entries back, so there are no
 * tombstones and the table never degrades.
 */

const WORDS = 3;

/** Makes the second key word. */
export function flowWord(port: number, context: number): number {
  return (port << 16) | context;
}

/** Maps (address, port and context) to a value of 0 or more. */
export class FlowTable {
  #entries: Int32Array;
  #mask: number;
  #size = 0;

  constructor(capacity = 1024) {
    let slots = 16;
    while (slots < capacity * 2) slots *= 2;
    this.#entries = new Int32Array(slots * WORDS).fill(-1);
    this.#mask = slots - 1;
  }

  /** Number of flows. */
  get size(): number {
    return this.#size;
  }

  /** The flow's value, or -1. */
  get(address: number, word: number): number {
    const entries = this.#entries;
    for (let slot = this.#home(address, word);; slot = (slot + 1) & this.#mask) {
      const at = slot * WORDS;
      const value = entries[at + 2];
      if (value === -1) return -1;
      if (entries[at] === address && entries[at + 1] === word) return value;
    }
  }

  /** Adds a flow or changes its value (0 or more). */
  set(address: number, word: number, value: number): void {
    if ((this.#size + 1) * 2 > this.#mask + 1) this.#grow();
    const entries = this.#entries;
    for (let slot = this.#home(address, word);; slot = (slot + 1) & this.#mask) {
      const at = slot * WORDS;
      if (entries[at + 2] === -1) {
        entries[at] = address;
        entries[at + 1] = word;
        entries[at + 2] = value;
        this.#size++;
        return;
      }
      if (entries[at] === address && entries[at + 1] === word) {
        entries[at + 2] = value;
        return;
      }
    }
  }

  /** Removes a flow; does nothing when it is not there. */
  delete(address: number, word: number): void {
    const entries = this.#entries;
    let slot = this.#home(address, word);
    for (;; slot = (slot + 1) & this.#mask) {
      const at = slot * WORDS;
      if (entries[at + 2] === -1) return;
      if (entries[at] === address && entries[at + 1] === word) break;
    }
    this.#size--;
    let hole = slot;
    for (let probe = (slot + 1) & this.#mask;; probe = (probe + 1) & this.#mask) {
      const at = probe * WORDS;
      if (entries[at + 2] === -1) break;
      const home = this.#home(entries[at], entries[at + 1]);
      // Move the entry back unless its home lies cyclically after the hole.
      if (((probe - home) & this.#mask) < ((probe - hole) & this.#mask)) continue;
      entries.copyWithin(hole * WORDS, at, at + WORDS);
      hole = probe;
    }
    entries[hole * WORDS + 2] = -1;
  }

  /** Removes every flow. */
  clear(): void {
    this.#entries.fill(-1);
    this.#size = 0;
  }

  #home(address: number, word: number): number {
    let hash = Math.imul(address, 0x9e3779b1) ^ Math.imul(word, 0x85ebca6b);
    hash ^= hash >>> 15;
    hash = Math.imul(hash, 0x2c1b3c6d);
    return (hash ^ (hash >>> 13)) & this.#mask;
  }

  #grow(): void {
    const old = this.#entries;
    const slots = (this.#mask + 1) * 2;
    this.#entries = new Int32Array(slots * WORDS).fill(-1);
    this.#mask = slots - 1;
    this.#size = 0;
    for (let at = 0; at < old.length; at += WORDS) {
      if (old[at + 2] !== -1) this.set(old[at], old[at + 1], old[at + 2]);
    }
  }
}
