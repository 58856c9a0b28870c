/** How far released turns were behind their capture: a histogram. Pure. */

/** Delays below this have a bucket each; above, every octave has as many. */
const STEPS = 16;
const STEP_BITS = 4;
const BUCKETS = STEPS * 28;

/** Delays in ms; a quantile is right within 7 %. */
export class Delays {
  /** How many delays fell into each bucket; plain data, which can be sent to another thread. */
  readonly counts: Float64Array;
  /** The longest, ms. */
  maxMs = 0;

  constructor() {
    this.counts = new Float64Array(BUCKETS);
  }

  /** Takes a delay, a whole number of ms. */
  note(delayMs: number): void {
    this.counts[bucketOf(delayMs)]++;
    if (delayMs > this.maxMs) this.maxMs = delayMs;
  }

  /** Adds what another counted. */
  add(other: Pick<Delays, "counts" | "maxMs">): void {
    for (let i = 0; i < BUCKETS; i++) this.counts[i] += other.counts[i];
    if (other.maxMs > this.maxMs) this.maxMs = other.maxMs;
  }

  /**
   * What came since an earlier state of these delays. Of the longest only the bucket is known then.
   */
  since(earlier: Delays): Delays {
    const rest = new Delays();
    for (let i = 0; i < BUCKETS; i++) {
      rest.counts[i] = this.counts[i] - earlier.counts[i];
      if (rest.counts[i] > 0) rest.maxMs = Math.min(this.maxMs, upperBound(i));
    }
    return rest;
  }

  /** How many were taken. */
  get total(): number {
    return this.counts.reduce((sum, count) => sum + count, 0);
  }

  /** The delay that a share of all do not exceed, ms; 0 when there are none. */
  quantileMs(share: number): number {
    let left = this.total * share;
    if (left === 0) return 0;
    for (let i = 0; i < BUCKETS; i++) {
      left -= this.counts[i];
      if (left <= 0) return Math.min(this.maxMs, upperBound(i));
    }
    return this.maxMs;
  }
}

function bucketOf(delayMs: number): number {
  if (delayMs < STEPS) return delayMs < 0 ? 0 : delayMs;
  const octave = 31 - Math.clz32(delayMs) - STEP_BITS; // 0 for 16 to 31
  return Math.min(BUCKETS - 1, ((octave + 1) << STEP_BITS) + (delayMs >> octave) - STEPS);
}

/** The longest delay of a bucket. */
function upperBound(bucket: number): number {
  if (bucket < STEPS) return bucket;
  const octave = (bucket >> STEP_BITS) - 1;
  return ((STEPS + (bucket & (STEPS - 1)) + 1) << octave) - 1;
}
