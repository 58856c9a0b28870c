/**
 * Round-trip time estimation and the retransmission time-out of RFC 6298. Pure.
 *
 * Kept in integers, the average in eighths and the variation in quarters of a millisecond (Jacobson,
 * "Congestion Avoidance and Control", 1988, appendix A): a fraction would be an object of its own in
 * every session, and a new one with every sample.
 */

/** Lower bound of the retransmission time-out; Linux' value, below the RFC's one second. */
export const MIN_RTO_MS = 200;
/** Upper bound of the retransmission time-out. */
export const MAX_RTO_MS = 60_000;
/** Time-out before the first sample, RFC 6298 section 2.1. */
export const INITIAL_RTO_MS = 1_000;

/** Smoothed round-trip time of one connection. */
export class RttEstimator {
  /** Smoothed round-trip time in eighths of a ms; -1 before the first sample. */
  #smoothedEighths = -1;
  /** Its mean deviation in quarters of a ms, which is the term of four deviations in ms. */
  #variationQuarters = 0;
  #backoff = 0;

  /**
   * Takes a sample that is not ambiguous (Karn's rule is the caller's duty).
   *
   * @param rttMs a whole number
   */
  sample(rttMs: number): void {
    if (this.#smoothedEighths < 0) {
      this.#smoothedEighths = rttMs << 3;
      this.#variationQuarters = rttMs << 1;
    } else {
      const error = rttMs - (this.#smoothedEighths >> 3);
      this.#smoothedEighths += error;
      this.#variationQuarters += (error < 0 ? -error : error) - (this.#variationQuarters >> 2);
    }
    this.#backoff = 0;
  }

  /** Doubles the time-out, RFC 6298 section 5.5. */
  backOff(): void {
    if (this.#backoff < 16) this.#backoff++;
  }

  /** Ends the back-off: the path is known to work again. */
  resetBackoff(): void {
    this.#backoff = 0;
  }

  /** Smoothed round-trip time in ms, rounded up; -1 before the first sample. */
  get smoothedMs(): number {
    return this.#smoothedEighths < 0 ? -1 : (this.#smoothedEighths + 7) >> 3;
  }

  /** The present time-out, a whole number of ms. */
  get timeoutMs(): number {
    let base = INITIAL_RTO_MS;
    if (this.#smoothedEighths >= 0) {
      base = this.smoothedMs + (this.#variationQuarters > 1 ? this.#variationQuarters : 1);
      if (base < MIN_RTO_MS) base = MIN_RTO_MS;
      else if (base > MAX_RTO_MS) base = MAX_RTO_MS;
    }
    const timeoutMs = this.#backoff < 9 ? base << this.#backoff : MAX_RTO_MS;
    return timeoutMs < MAX_RTO_MS ? timeoutMs : MAX_RTO_MS;
  }

  /** How long to wait for an acknowledgement before probing the tail, RFC 8985 section 7.2. */
  probeTimeoutMs(segmentsInFlight: number): number {
    const base = this.#smoothedEighths < 0 ? INITIAL_RTO_MS : 2 * this.smoothedMs + 2;
    // A single segment may meet the peer's delayed acknowledgement (at most 40 ms on Linux).
    return Math.min(this.timeoutMs, base + (segmentsInFlight <= 1 ? 50 : 10));
  }
}
