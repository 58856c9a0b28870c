/** A part that replays its share of capture files, in the rhythm they were recorded in. */

import type { Logger } from "@logtape/logtape";
import { CaptureFileError } from "../capture/pcap_file.ts";
import { Next } from "../capture/recorded_packets.ts";
import { openRecording, type Recording } from "../capture/recording.ts";
import { serviceAddress, TransferMap } from "../session/transfer.ts";
import { Player } from "./player.ts";
import { NOTHING_PLAYED, type PlayedStretch } from "./playing_time.ts";
import type { PartStatus } from "./part.ts";
import type { ReplayOptions } from "./replay.ts";
import { ReplayPart } from "./replay_part.ts";
import { Survey } from "./survey.ts";

/** What to play, and how. */
export interface FileSource {
  kind: "file";
  /** Capture files, "-" is standard input; or a dump's log. */
  paths: readonly string[];
  acceleration: number;
  /** Longer pauses are cut to this, ms; undefined: see `Pace`. */
  maxGapMs: number | undefined;
  /** Whether packets that were cut short when they were recorded are borne. */
  allowTruncated: boolean;
  /** Payload waiting above this makes the file wait, bytes. */
  maxWaitingBytes: number;
}

/** How long the first bytes may take before it is said that they are waited for. */
const SAY_WAITING_AFTER_MS = 500;
/** How long another thread may take to begin to open a pipe. */
const BEGIN_OPENING_MS = 100;

export class FilePart extends ReplayPart {
  readonly #source: FileSource;
  readonly #file: Recording;
  /** What can be read only once is judged on the way. */
  readonly #survey: Survey | undefined;
  readonly #log: Logger;
  #player: Player | undefined;
  #interrupted = false;
  /** Why the file could not be read to its end. */
  #defect: string | undefined;
  #waiting: ReturnType<typeof setTimeout> | undefined;

  /** @throws CaptureFileError when a file cannot be read */
  constructor(options: Omit<ReplayOptions, "log">, source: FileSource, log: Logger) {
    super(options, log);
    this.#log = log;
    this.#source = source;
    this.#file = openRecording(source.paths, serviceAddress(options.transfers));
    this.replay.stripTunnels();
    this.replay.onHopeless = () => this.#interrupted = true;
    if (!this.#file.isRewindable) {
      const transfers = new TransferMap(options.transfers);
      const warn = (text: string) => log.warn(text);
      this.#survey = new Survey({ ...source, name: this.#file.name, transfers, warn });
    }
  }

  protected get played(): PlayedStretch {
    return this.#player?.played ?? NOTHING_PLAYED;
  }

  override get status(): PartStatus {
    return { ...super.status, defect: this.#defect };
  }

  async open(): Promise<string> {
    this.#waiting = setTimeout(() => {
      for (const what of this.#file.awaited) this.#log.info(`waiting for ${what}`);
    }, SAY_WAITING_AFTER_MS);
    // A pipe is opened by another thread, which is to be at it before root is given up.
    if (this.#file.awaited.length > 0) {
      await new Promise((resolve) => setTimeout(resolve, BEGIN_OPENING_MS));
    }
    return this.#file.name;
  }

  async play(startAtMs: number): Promise<void> {
    const { table } = this.replay;
    if (this.#player !== undefined) {
      this.#file.rewind();
      table.startOver();
    }
    const player = await this.#start(startAtMs);
    try {
      await this.until(() => player.ended || this.#interrupted);
    } finally {
      this.loop.removeTimerSource(player);
    }
    if (!this.#interrupted && this.#defect === undefined) this.#survey?.assertRequests();
    table.stopCapture();
    await this.until(() => table.openSessions === 0 || this.#interrupted);
  }

  drain(): Promise<void> {
    this.#interrupted = true;
    this.loop.wake();
    return Promise.resolve();
  }

  override async finish(): Promise<PartStatus> {
    // Not before the loop has ended: its last turn may still play from the file.
    const status = await super.finish();
    clearTimeout(this.#waiting);
    this.#file.close();
    return status;
  }

  protected stopSource(): void {
    this.#interrupted = true;
  }

  /** Makes the player inside the loop, where its clock is exact. */
  #start(startAtMs: number): Promise<Player> {
    const { loop } = this;
    const file = this.#file;
    const { promise, resolve } = Promise.withResolvers<Player>();
    loop.after(0, () => {
      const player = new Player(
        {
          next: () => this.#next(),
          get timestampUs() {
            return file.timestampUs;
          },
        },
        this.#source,
        loop.nowMs + startAtMs - Date.now(),
        () => this.#onPacket(),
        () => this.#isBehind(),
      );
      this.#player = player;
      loop.addTimerSource(player);
      resolve(player);
    });
    return promise;
  }

  /** A file that breaks ends there: what was played of it goes on, and is accounted for. */
  #next(): Next {
    try {
      return this.#file.next();
    } catch (error) {
      if (!(error instanceof CaptureFileError)) throw error;
      const played = this.played.packets.toLocaleString("en-US");
      this.#defect = `${error.message} The replay ended there, with ${played} packets played.`;
      return Next.End;
    }
  }

  #onPacket(): void {
    const file = this.#file;
    if (this.#survey !== undefined) {
      this.#survey.look(file);
      this.#survey.assertWhole();
    }
    this.replay.onUnsorted(
      file.linkType,
      file.bytes,
      file.view,
      file.offset,
      file.capturedLength,
    );
  }

  #isBehind(): boolean {
    const { table } = this.replay;
    // With no session open there is nothing to wait for.
    return this.replay.holds || table.payloadBytes > this.#source.maxWaitingBytes ||
      (table.shedding && table.openSessions > 0);
  }
}
