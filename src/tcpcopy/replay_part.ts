/** What parts that run in this thread have in common, wherever their packets come from. */

import type { Logger } from "@logtape/logtape";
import type { EventLoop } from "../loop/event_loop.ts";
import type { Part, PartStatus } from "./part.ts";
import type { PlayedStretch } from "./playing_time.ts";
import { type Reconfiguration, Replay, type ReplayOptions } from "./replay.ts";

const LOOK_EVERY_MS = 5;

export abstract class ReplayPart implements Part {
  readonly failed: Promise<never>;
  readonly lonely: Promise<void>;
  protected readonly replay: Replay;
  readonly #failure: PromiseWithResolvers<never> = Promise.withResolvers();
  #running: Promise<void> | undefined;

  /** @throws SystemError without the privilege to send packets */
  constructor(options: Omit<ReplayOptions, "log">, log: Logger) {
    this.replay = new Replay({ ...options, log });
    const lonely = Promise.withResolvers<void>();
    this.lonely = lonely.promise;
    this.replay.onLonely = lonely.resolve;
    this.failed = this.#failure.promise;
    // Whoever waits for something else at that time hears of it from there.
    this.failed.catch(() => {});
  }

  get status(): PartStatus {
    const { table } = this.replay;
    return {
      figures: this.replay.figures(),
      payloadBytes: table.payloadBytes,
      played: this.played,
      requestsOf: table.requestsOf,
    };
  }

  /** What of the file is behind it. */
  protected abstract get played(): PlayedStretch;

  get loop(): EventLoop {
    return this.replay.loop;
  }

  setShedding(shedding: boolean): void {
    this.replay.table.shedding = shedding;
  }

  setSampling(sampling: boolean): Promise<void> {
    this.replay.table.sampling = sampling;
    return Promise.resolve();
  }

  reconfigure(next: Reconfiguration): void {
    this.replay.reconfigure(next);
  }

  abstract open(): Promise<string>;

  async connect(): Promise<void> {
    this.#running = this.loop.run();
    // Whatever ends the loop ends the part too.
    this.#running.catch((error) => this.#failure.reject(error));
    await Promise.race([this.replay.connect(), this.failed]);
  }

  abstract play(startAtMs: number): Promise<void>;

  abstract drain(): Promise<void>;

  /** Takes no more packets from now on. */
  protected abstract stopSource(): void;

  async finish(): Promise<PartStatus> {
    this.stopSource();
    await this.replay.finish();
    await this.#running;
    return this.status;
  }

  /** Resolves when the condition holds; looked at between turns of the loop. */
  protected until(isDone: () => boolean): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = this.loop.every(LOOK_EVERY_MS, () => {
      if (!isDone()) return;
      this.loop.clear(timer);
      resolve();
    });
    return promise;
  }
}
