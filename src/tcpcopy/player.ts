/**
 * Plays the packets of a capture file in the rhythm of their timestamps. Pure but for the reader it
 * is given.
 */

/** A capture file, read packet by packet; PcapFileReader implements it. */
export interface RecordedPackets {
  readonly timestampUs: number;
  /** Moves to the next packet; false at the end of the file. */
  next(): boolean;
}

/** How fast to play. */
export interface PlayerOptions {
  /** Times faster than recorded, at least 1. */
  acceleration: number;
  /** A longer pause between two packets is cut to this, ms of recorded time; Infinity to keep all. */
  maxGapMs: number;
}

/** Packets handed over per turn, so that responses get their turn too. */
const PACKETS_PER_TURN = 256;
/** How long to wait before looking again whether the replay has caught up. */
const HOLD_MS = 2;

export class Player {
  /** Packets handed over. */
  played = 0;
  /** Whether the file has ended. */
  ended = false;
  readonly #source: RecordedPackets;
  readonly #options: PlayerOptions;
  readonly #onPacket: () => void;
  readonly #isBehind: () => boolean;
  #dueMs: number;
  #lastUs: number;

  /**
   * @param startMs when the first packet is due
   * @param onPacket takes the packet the source stands on
   * @param isBehind whether the replay cannot follow: the file waits, nothing is lost
   */
  constructor(
    source: RecordedPackets,
    options: PlayerOptions,
    startMs: number,
    onPacket: () => void,
    isBehind: () => boolean,
  ) {
    this.#source = source;
    this.#options = options;
    this.#onPacket = onPacket;
    this.#isBehind = isBehind;
    this.#dueMs = startMs;
    this.ended = !source.next();
    this.#lastUs = source.timestampUs;
  }

  /** When `advance` is to be called next. */
  nextDeadlineMs(): number {
    return this.ended ? Infinity : Math.ceil(this.#dueMs);
  }

  /** Hands over what is due. */
  advance(nowMs: number): void {
    if (this.ended || this.#dueMs > nowMs) return;
    if (this.#isBehind()) {
      this.#dueMs = nowMs + HOLD_MS; // everything behind it moves with it
      return;
    }
    for (let i = 0; i < PACKETS_PER_TURN && this.#dueMs <= nowMs; i++) {
      this.#onPacket();
      this.played++;
      if (!this.#source.next()) {
        this.ended = true;
        return;
      }
      // Packets out of order of time (several queues of a network card) are played as they stand.
      const gapMs = Math.max(0, (this.#source.timestampUs - this.#lastUs) / 1000);
      this.#lastUs = Math.max(this.#lastUs, this.#source.timestampUs);
      this.#dueMs += Math.min(gapMs, this.#options.maxGapMs) / this.#options.acceleration;
    }
  }
}
