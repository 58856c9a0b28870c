/** Round-trip time estimation and the retransmission time-out of RFC 6298. Pure. */

/** Lower bound of the retransmission time-out; Linux' value, below the RFC's one second. */
export const MIN_RTO_MS = 200;
/** Upper bound of the retransmission time-out. */
export const MAX_RTO_MS = 60_000;
/** Time-out before the first sample, RFC 6298 section 2.1. */
export const INITIAL_RTO_MS = 1_000;

/** Smoothed round-trip time of one connection. */
export class RttEstimator {
  /** Smoothed round-trip time in ms; -1 before the first sample. */
  smoothedMs = -1;
  #variationMs = 0;
  #backoff = 0;

  /** Takes a sample that is not ambiguous (Karn's rule is the caller's duty). */
  sample(rttMs: number): void {
    if (this.smoothedMs < 0) {
      this.smoothedMs = rttMs;
      this.#variationMs = rttMs / 2;
    } else {
      this.#variationMs += (Math.abs(this.smoothedMs - rttMs) - this.#variationMs) / 4;
      this.smoothedMs += (rttMs - this.smoothedMs) / 8;
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

  /** Time-outs in a row without progress. */
  get backoffs(): number {
    return this.#backoff;
  }

  /** The present time-out, a whole number of ms. */
  get timeoutMs(): number {
    const base = this.smoothedMs < 0
      ? INITIAL_RTO_MS
      : Math.max(MIN_RTO_MS, Math.ceil(this.smoothedMs + Math.max(1, 4 * this.#variationMs)));
    return Math.min(MAX_RTO_MS, base * (1 << this.#backoff));
  }

  /** How long to wait for an acknowledgement before probing the tail, RFC 8985 section 7.2. */
  probeTimeoutMs(segmentsInFlight: number): number {
    const base = this.smoothedMs < 0 ? INITIAL_RTO_MS : Math.ceil(2 * this.smoothedMs) + 2;
    // A single segment may meet the peer's delayed acknowledgement (at most 40 ms on Linux).
    return Math.min(this.timeoutMs, base + (segmentsInFlight <= 1 ? 50 : 10));
  }
}
