/**
 * The time between recorded packets, as it is to be played. Pure: everybody who goes through the same
 * packets finds the same.
 *
 * A clock that was set while it was recorded, a damaged record, files of different days: then packets
 * are years apart, and nobody wants to wait for that.
 */

/** A longer jump is none of the traffic's, ms. */
const JUMP_MS = 3_600_000;
/** What a jump forward becomes, ms. */
const CUT_MS = 1_000;

/** Two neighbouring packets whose times are far apart. */
export interface Jump {
  /** Number of the second packet, from 1 on. */
  packet: number;
  /** Their times, µs since 1970. */
  fromUs: number;
  toUs: number;
  /** The pause that is made, ms; undefined where it is the one that was asked for. */
  cutToMs: number | undefined;
}

export class Pace {
  /** How long all packets so far took to record, jumps and pauses included, and how long to play, ms. */
  recordedMs = 0;
  playedMs = 0;
  readonly #maxGapMs: number | undefined;
  readonly #onJump: (jump: Jump) => void;
  #packets = 0;
  /** The latest time so far, since the last jump. */
  #latestUs = 0;

  /**
   * @param maxGapMs longer pauses are cut to this; undefined: only those of more than an hour are
   * cut, to a second
   * @param onJump told of times more than an hour apart
   */
  constructor(maxGapMs: number | undefined, onJump: (jump: Jump) => void = () => {}) {
    this.#maxGapMs = maxGapMs;
    this.#onJump = onJump;
  }

  /**
   * Goes to the next packet.
   *
   * @param timestampUs µs since 1970
   * @returns how long after the packet before it is due, ms; 0 for the first. Packets slightly out of
   * order of time (several queues of a network card) are due at once
   */
  step(timestampUs: number): number {
    const gapMs = this.#step(timestampUs);
    this.playedMs += gapMs;
    return gapMs;
  }

  #step(timestampUs: number): number {
    this.#packets++;
    const fromUs = this.#packets === 1 ? timestampUs : this.#latestUs;
    const gapMs = (timestampUs - fromUs) / 1000;
    this.recordedMs += Math.max(0, gapMs);
    if (Math.abs(gapMs) <= JUMP_MS) {
      this.#latestUs = Math.max(fromUs, timestampUs);
      return Math.min(Math.max(0, gapMs), this.#maxGapMs ?? Infinity);
    }
    // What follows counts from here on.
    this.#latestUs = timestampUs;
    const playedMs = gapMs < 0 ? 0 : Math.min(gapMs, this.#maxGapMs ?? CUT_MS);
    const isAsked = gapMs > 0 && this.#maxGapMs !== undefined;
    this.#onJump({
      packet: this.#packets,
      fromUs,
      toUs: timestampUs,
      cutToMs: isAsked ? undefined : playedMs,
    });
    return playedMs;
  }
}

/** A jump for people; undefined where all is as they asked for. */
export function describeJump({ packet, fromUs, toUs, cutToMs }: Jump): string | undefined {
  if (cutToMs === undefined) return undefined;
  const seconds = Math.round(Math.abs(toUs - fromUs) / 1e6).toLocaleString("en-US");
  const where = `packet ${packet.toLocaleString("en-US")} was recorded ${seconds} s ` +
    `${toUs > fromUs ? "after" : "before"} the one in front of it ` +
    `(${formatTime(fromUs)}, then ${formatTime(toUs)})`;
  return cutToMs === 0
    ? `${where}: it is played at once`
    : `${where}: it is played ${cutToMs / 1000} s later; --skip-gaps sets another bound`;
}

/** The largest time a Date can have, ms. */
const MAX_DATE_MS = 8.64e15;

function formatTime(us: number): string {
  if (Math.abs(us) > MAX_DATE_MS * 1000) return `${us / 1e6} s since 1970`;
  return new Date(us / 1000).toISOString();
}
