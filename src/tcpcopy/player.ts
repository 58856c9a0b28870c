/**
 * Plays the packets of a capture file in the rhythm of their timestamps. Pure but for the reader it
 * is given.
 */

import { Next, type RecordedPackets } from "../capture/recorded_packets.ts";
import { Pace } from "./pace.ts";
import { NOTHING_PLAYED, type PlayedStretch } from "./playing_time.ts";

/** How fast to play. */
export interface PlayerOptions {
  /** Times faster than recorded, at least 1. */
  acceleration: number;
  /**
   * A longer pause between two packets is cut to this, ms of recorded time; undefined to keep all but
   * those of more than an hour, see `Pace`.
   */
  maxGapMs: number | undefined;
}

/** Packets handed over per turn, so that responses get their turn too. */
const PACKETS_PER_TURN = 256;
/** How long to wait before looking again whether the replay has caught up, or a packet has come. */
const HOLD_MS = 2;

/** What a player needs of recorded packets. */
type Source = Pick<RecordedPackets, "timestampUs" | "next">;

export class Player {
  /** What was handed over. */
  readonly played: PlayedStretch = { ...NOTHING_PLAYED };
  /** Whether the file has ended. */
  ended = false;
  readonly #source: Source;
  readonly #acceleration: number;
  readonly #pace: Pace;
  readonly #onPacket: () => void;
  readonly #isBehind: () => boolean;
  /** Whether the source stands on a packet that is still to be played. */
  #hasPacket = false;
  /** When the packet is due; while there is none, when to look for it again. */
  #dueMs: number;
  /** When the last packet was due. */
  #lastDueMs: number;
  #isFirst = true;

  /**
   * @param startMs when the first packet is due
   * @param onPacket takes the packet the source stands on
   * @param isBehind whether the replay cannot follow: the file waits, nothing is lost
   */
  constructor(
    source: Source,
    options: PlayerOptions,
    startMs: number,
    onPacket: () => void,
    isBehind: () => boolean,
  ) {
    this.#source = source;
    this.#acceleration = options.acceleration;
    this.#pace = new Pace(options.maxGapMs);
    this.#onPacket = onPacket;
    this.#isBehind = isBehind;
    this.#dueMs = startMs;
    this.#lastDueMs = startMs;
    this.#fetch(startMs);
  }

  /** When `advance` is to be called next. */
  nextDeadlineMs(): number {
    return this.ended ? Infinity : Math.ceil(this.#dueMs);
  }

  /** Hands over what is due. */
  advance(nowMs: number): void {
    if (this.ended || this.#dueMs > nowMs) return;
    if (this.#isBehind()) {
      // Everything behind it moves with it.
      this.#lastDueMs += nowMs + HOLD_MS - this.#dueMs;
      this.#dueMs = nowMs + HOLD_MS;
      return;
    }
    for (let i = 0; i < PACKETS_PER_TURN; i++) {
      if (!this.#hasPacket) this.#fetch(nowMs);
      if (!this.#hasPacket || this.#dueMs > nowMs) return;
      this.#onPacket();
      this.#notePlayed();
      this.#hasPacket = false;
      this.#lastDueMs = this.#dueMs;
    }
    // The next packet may be due at once; where it is not there yet, the next turn looks for it.
    if (!this.#hasPacket) this.#fetch(nowMs);
  }

  /** The packet that was fetched last was handed over. */
  #notePlayed(): void {
    const { played } = this;
    played.packets++;
    played.recordedMs = this.#pace.recordedMs;
    played.playingMs = this.#pace.playedMs / this.#acceleration;
  }

  /** Goes to the next packet, if it is there, and finds out when it is due. */
  #fetch(nowMs: number): void {
    const next = this.#source.next();
    if (next === Next.End) {
      this.ended = true;
    } else if (next === Next.Wait) {
      this.#dueMs = nowMs + HOLD_MS;
    } else {
      this.#hasPacket = true;
      // The first packet is due when it is there.
      if (this.#isFirst) this.#lastDueMs = Math.max(this.#lastDueMs, nowMs);
      this.#isFirst = false;
      const gapMs = this.#pace.step(this.#source.timestampUs);
      this.#dueMs = this.#lastDueMs + gapMs / this.#acceleration;
    }
  }
}
