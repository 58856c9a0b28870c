/**
 * A part of a replay: the connections of some of the client ports, from capture to ledger. With one
 * worker the only part runs in the main thread; with several each has a thread of its own, and the
 * parts share nothing. Types only.
 */

import type { PlainFigures } from "../observe/merge.ts";
import type { FileSource } from "./file_part.ts";
import type { LiveSource } from "./live_part.ts";
import type { PlayedStretch } from "./playing_time.ts";
import type { Reconfiguration, ReplayOptions } from "./replay.ts";

/** What a part is made from; plain data, which can be sent to another thread. */
export interface PartSetup {
  /** Which part it is stands in `session.partition`. */
  replay: Omit<ReplayOptions, "log">;
  source: LiveSource | FileSource;
}

/** How a part is doing. */
export interface PartStatus {
  figures: PlainFigures;
  /** Captured payload in memory, bytes. */
  payloadBytes: number;
  /** What of the file is behind it. */
  played: PlayedStretch;
  /** Captured request packets, by pair of `-x`. */
  requestsOf: readonly number[];
  /** Why the file could not be played to its end; undefined as long as it could. */
  defect?: string;
}

/** See the top of the file. The methods are called in the order in which they stand. */
export interface Part {
  /** Rejects when the part has come to grief, at any time; never resolves. */
  readonly failed: Promise<never>;
  /** Resolves when the last intercept is gone, if the replay is to end then; never otherwise. */
  readonly lonely: Promise<void>;
  /** Now, or a moment ago. */
  readonly status: PartStatus;
  /** While true, no new session begins. */
  setShedding(shedding: boolean): void;
  /**
   * While false, no new session begins, and nothing is booked for it. May come before `open`.
   *
   * @returns resolves when this is in force and `status` is of that moment; maybe never, when the
   * part fails
   */
  setSampling(sampling: boolean): Promise<void>;
  /** Puts other settings in force. */
  reconfigure(next: Reconfiguration): void;
  /**
   * Opens everything that needs privileges.
   *
   * @returns where packets come from, in words
   */
  open(): Promise<string>;
  /** Connects to the intercepts; rejects when one cannot be reached. */
  connect(): Promise<void>;
  /**
   * Live: captures from now on. File: plays it, from the given time on (ms since 1970) for all parts
   * to keep the same time, and resolves when the last session has ended; a file that breaks ends there
   * (`PartStatus.defect`).
   */
  play(startAtMs: number): Promise<void>;
  /** Takes no more packets; resolves when what was captured is with the target, or it takes long. */
  drain(): Promise<void>;
  /** Ends every session and the part. The status returned is the last. */
  finish(): Promise<PartStatus>;
}
