/** One direction of a network path: delays, loses, doubles and reorders packets. */

import type { Agenda } from "./agenda.ts";
import type { Random } from "./random.ts";

/** How bad a path is. */
export interface LinkConditions {
  delayMs: number;
  lossShare: number;
  copyShare: number;
  /** Share of packets that are late by up to `lateMs`. */
  lateShare: number;
  lateMs: number;
}

export class Link {
  readonly #agenda: Agenda;
  readonly #conditions: LinkConditions;
  readonly #random: Random;
  readonly #deliver: (bytes: Uint8Array, nowMs: number) => void;
  /** Packets lost. */
  lost = 0;

  constructor(
    agenda: Agenda,
    conditions: LinkConditions,
    random: Random,
    deliver: (bytes: Uint8Array, nowMs: number) => void,
  ) {
    this.#agenda = agenda;
    this.#conditions = conditions;
    this.#random = random;
    this.#deliver = deliver;
  }

  /** Sends a packet; the bytes must not change afterwards. */
  send(bytes: Uint8Array): void {
    const { lossShare, copyShare } = this.#conditions;
    if (lossShare > 0 && this.#random.chance(lossShare)) {
      this.lost++;
      return;
    }
    this.#carry(bytes);
    if (copyShare > 0 && this.#random.chance(copyShare)) this.#carry(bytes);
  }

  #carry(bytes: Uint8Array): void {
    const { delayMs, lateShare, lateMs } = this.#conditions;
    const isLate = lateShare > 0 && this.#random.chance(lateShare);
    const late = isLate ? this.#random.int(1, lateMs) : 0;
    this.#agenda.after(delayMs + late, (nowMs) => this.#deliver(bytes, nowMs));
  }
}
