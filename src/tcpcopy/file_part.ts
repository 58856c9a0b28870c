/** A part that replays its share of capture files, in the rhythm they were recorded in. */

import type { Logger } from "@logtape/logtape";
import { openRecording, type Recording } from "../capture/recording.ts";
import { serviceAddress, TransferMap } from "../session/transfer.ts";
import { Player } from "./player.ts";
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
  /** Longer pauses are cut to this, ms; Infinity keeps them. */
  maxGapMs: number;
  /** Whether packets that were cut short when they were recorded are borne. */
  allowTruncated: boolean;
  /** Payload waiting above this makes the file wait, bytes. */
  maxWaitingBytes: number;
}

export class FilePart extends ReplayPart {
  readonly #source: FileSource;
  readonly #file: Recording;
  /** What can be read only once is judged on the way. */
  readonly #survey: Survey | undefined;
  #player: Player | undefined;
  #interrupted = false;

  /** @throws CaptureFileError when a file cannot be read */
  constructor(options: Omit<ReplayOptions, "log">, source: FileSource, log: Logger) {
    super(options, log);
    this.#source = source;
    this.#file = openRecording(source.paths, serviceAddress(options.transfers));
    this.replay.stripTunnels();
    if (!this.#file.isRewindable) {
      const transfers = new TransferMap(options.transfers);
      this.#survey = new Survey({ ...source, name: this.#file.name, transfers });
    }
  }

  protected get played(): number {
    return this.#player?.played ?? 0;
  }

  open(): Promise<string> {
    return Promise.resolve(this.#file.name);
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
    if (!this.#interrupted) this.#survey?.assertRequests();
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
        file,
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
    return table.payloadBytes > this.#source.maxWaitingBytes ||
      (table.shedding && table.openSessions > 0);
  }
}
