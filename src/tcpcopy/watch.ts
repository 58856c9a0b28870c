/** Looks after the parts of a replay together: their memory, and what they report. */

import type { Logger } from "@logtape/logtape";
import { mergeFigures } from "../observe/merge.ts";
import { formatLedger, type ReplayFigures, summarize } from "../observe/report.ts";
import { Outcome } from "../session/ledger.ts";
import { MemoryGuard } from "./memory_guard.ts";
import type { Part, PartStatus } from "./part.ts";

const REPORT_EVERY_MS = 30_000;
const WATCH_MEMORY_EVERY_MS = 500;

/** The memory of all parts together, bytes. */
export interface MemoryLimits {
  maxMemoryBytes: number;
  maxPayloadBytes: number;
}

export class Watch implements Disposable {
  readonly #parts: readonly Part[];
  readonly #log: Logger;
  readonly #limits: MemoryLimits;
  readonly #guard: MemoryGuard;
  readonly #timers: readonly ReturnType<typeof setInterval>[];

  constructor(parts: readonly Part[], limits: MemoryLimits, log: Logger) {
    this.#parts = parts;
    this.#log = log;
    this.#limits = limits;
    this.#guard = new MemoryGuard(limits.maxMemoryBytes);
    this.#timers = [
      setInterval(() => log.info(summarize(this.figures())), REPORT_EVERY_MS),
      setInterval(() => this.#watchMemory(), WATCH_MEMORY_EVERY_MS),
    ];
  }

  /** What all parts have counted. */
  figures(): ReplayFigures {
    return mergeFigures(this.#parts.map((part) => part.status.figures));
  }

  /** The last line of the log, and the ledger. */
  report(final: readonly PartStatus[]): void {
    const figures = mergeFigures(final.map((status) => status.figures));
    this.#log.info(summarize(figures));
    console.log(formatLedger(figures));
  }

  [Symbol.dispose](): void {
    for (const timer of this.#timers) clearInterval(timer);
  }

  #watchMemory(): void {
    let sparePayloadBytes = 0;
    let payloadBytes = 0;
    let shedSessions = 0;
    for (const { status } of this.#parts) {
      sparePayloadBytes += status.sparePayloadBytes;
      payloadBytes += status.payloadBytes;
      shedSessions += status.figures.ledger.ended[Outcome.Shed];
    }
    const wasShort = this.#guard.isShort;
    const notice = this.#guard.look({
      residentBytes: Deno.memoryUsage().rss,
      sparePayloadBytes,
      payloadBytes,
      maxPayloadBytes: this.#limits.maxPayloadBytes,
      shedSessions,
    }, performance.now());
    if (this.#guard.isShort !== wasShort) {
      for (const part of this.#parts) part.setShedding(this.#guard.isShort);
    }
    if (notice === undefined) return;
    if (notice.isTrouble) this.#log.warn(notice.text);
    else this.#log.info(notice.text);
  }
}
