/** A part that replays its share of a capture file, in the rhythm it was recorded in. */

import type { Logger } from "@logtape/logtape";
import { PcapFileReader } from "../capture/pcap_file.ts";
import { Player } from "./player.ts";
import type { PartStatus } from "./part.ts";
import type { ReplayOptions } from "./replay.ts";
import { ReplayPart } from "./replay_part.ts";

/** What to play, and how. */
export interface FileSource {
  kind: "file";
  path: string;
  acceleration: number;
  /** Longer pauses are cut to this, ms; Infinity keeps them. */
  maxGapMs: number;
  libpcapPath: string | undefined;
  /** Payload waiting above this makes the file wait, bytes. */
  maxWaitingBytes: number;
}

export class FilePart extends ReplayPart {
  readonly #source: FileSource;
  readonly #file: PcapFileReader;
  #player: Player | undefined;
  #interrupted = false;

  /** @throws CaptureFileError when the file cannot be read */
  constructor(options: Omit<ReplayOptions, "log">, source: FileSource, log: Logger) {
    super(options, log);
    this.#source = source;
    this.#file = new PcapFileReader(source.path, { libpcapPath: source.libpcapPath });
  }

  protected get played(): number {
    return this.#player?.played ?? 0;
  }

  open(): Promise<string> {
    return Promise.resolve(this.#source.path);
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
    table.stopCapture(this.loop.nowMs);
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
        () =>
          this.replay.onRecorded(
            file.linkType,
            file.bytes,
            file.view,
            file.offset,
            file.capturedLength,
          ),
        () => this.#isBehind(),
      );
      this.#player = player;
      loop.addTimerSource(player);
      resolve(player);
    });
    return promise;
  }

  #isBehind(): boolean {
    const { table } = this.replay;
    // With no session open there is nothing to wait for.
    return table.payloadBytes > this.#source.maxWaitingBytes ||
      (table.shedding && table.openSessions > 0);
  }
}
