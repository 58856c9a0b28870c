/**
 * A seeded source of random numbers for the simulation. Pure; the same seed gives the same numbers on
 * every machine.
 */

/** One stream of random numbers (the "mulberry32" generator: 32 bits of state, all seeds usable). */
export class Random {
  #state: number;

  constructor(seed: number) {
    // Neighbouring seeds begin far apart.
    this.#state = Math.imul(seed ^ 0x5bd1e995, 0x9e3779b1) | 0;
    this.next();
    this.next();
  }

  /** A fraction, 0 <= x < 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  }

  /** A whole number, both ends included. */
  int(min: number, max: number): number {
    return min + Math.floor(this.next() * (max - min + 1));
  }

  /** Any 32-bit number. */
  int32(): number {
    return (this.next() * 4294967296) | 0;
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.int(0, choices.length - 1)];
  }

  /** A whole number whose logarithm is spread evenly: small ones are as likely as large ones. */
  size(min: number, max: number): number {
    return Math.min(max, Math.floor(min * Math.pow((max + 1) / min, this.next())));
  }

  /** An independent stream, so that one part's use of numbers does not shift another's. */
  fork(): Random {
    return new Random(this.int32());
  }
}
