/**
 * What a part is told before it is there. Pure.
 *
 * A part in a thread of its own is made when it is opened, and orders may come earlier: sampling
 * windows begin at once, memory may be short already. The latest of each kind is kept.
 */

import type { Part } from "./part.ts";
import type { Reconfiguration } from "./replay.ts";

/** Passes orders on to a part, also when they come before it. */
export class EarlyOrders {
  #part: Part | undefined;
  #isShedding = false;
  #isSampling = true;
  #next: Reconfiguration | undefined;

  /** The part is there: everything it was told so far is in force from here on. */
  async attach(part: Part): Promise<void> {
    this.#part = part;
    part.setShedding(this.#isShedding);
    if (this.#next !== undefined) part.reconfigure(this.#next);
    await part.setSampling(this.#isSampling);
  }

  setShedding(shedding: boolean): void {
    this.#isShedding = shedding;
    this.#part?.setShedding(shedding);
  }

  async setSampling(sampling: boolean): Promise<void> {
    this.#isSampling = sampling;
    await this.#part?.setSampling(sampling);
  }

  reconfigure(next: Reconfiguration): void {
    this.#next = next;
    this.#part?.reconfigure(next);
  }
}
