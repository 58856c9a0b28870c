/** Warnings about what strangers can cause as often as they like: each kind is a line now and then. */

import type { Logger } from "@logtape/logtape";

const SAY_AGAIN_AFTER_MS = 10_000;

export class RareWarnings {
  readonly #log: Logger;
  readonly #about: string;
  readonly #now: () => number;
  /** By kind: when it was said last, and how many were not said since. */
  readonly #kinds = new Map<string, { saidAtMs: number; unsaid: number }>();

  /**
   * @param about what the lines begin with
   * @param now a clock that only goes forward, ms
   */
  constructor(log: Logger, about: string, now: () => number = () => performance.now()) {
    this.#log = log;
    this.#about = about;
    this.#now = now;
  }

  /** @param kind one of a few words that the caller knows beforehand */
  warn(kind: string, text: string): void {
    const nowMs = this.#now();
    const last = this.#kinds.get(kind);
    if (last !== undefined && nowMs - last.saidAtMs < SAY_AGAIN_AFTER_MS) {
      last.unsaid++;
      return;
    }
    const more = last === undefined || last.unsaid === 0
      ? ""
      : ` (and ${last.unsaid} times more since this was last said)`;
    this.#kinds.set(kind, { saidAtMs: nowMs, unsaid: 0 });
    this.#log.warn(`${this.#about}: ${text}${more}`);
  }
}
