/** Looks after the parts of a replay together: their memory, and what they report. */

import type { Logger } from "@logtape/logtape";
import { mergeFigures } from "../observe/merge.ts";
import { ProcessUsage } from "../observe/process_usage.ts";
import { formatCount, formatLedger, type ReplayFigures, summarize } from "../observe/report.ts";
import { Delays } from "../session/delays.ts";
import type { SamplingRules } from "../session/client_sample.ts";
import { SessionCounters } from "../session/counters.ts";
import { Outcome } from "../session/ledger.ts";
import { FirstSigns, type SignSource } from "./first_signs.ts";
import { MemoryGuard } from "./memory_guard.ts";
import { describeFarDraw, type Draw, drawSince } from "./draw.ts";
import type { Part, PartStatus } from "./part.ts";
import type { Reconfiguration } from "./replay.ts";

const REPORT_EVERY_MS = 30_000;
const WATCH_MEMORY_EVERY_MS = 500;
const LOOK_FOR_SIGNS_EVERY_MS = 500;

/** The memory of all parts together, bytes. */
export interface MemoryLimits {
  maxMemoryBytes: number;
  maxPayloadBytes: number;
}

export class Watch implements Disposable {
  readonly parts: readonly Part[];
  /** Rejects when a part has come to grief; never resolves. */
  readonly failed: Promise<never>;
  /** Resolves when the replay is to end because the last intercept is gone. */
  readonly lonely: Promise<void>;
  #isLonely = false;
  /** As of the line of the log before. */
  #loggedDelays = new Delays();
  readonly #usage = new ProcessUsage();
  readonly #log: Logger;
  readonly #logsLedger: boolean;
  #limits: MemoryLimits;
  #rules: SamplingRules;
  /** What had been drawn when the rules came into force; whether it was told that it is far off. */
  #drawBefore: Draw = new SessionCounters();
  #isFarDrawTold = false;
  #isIpv6Told = false;
  readonly #guard: MemoryGuard;
  readonly #timers: ReturnType<typeof setInterval>[];

  /** @param logsLedger whether the ledger is logged, too: a daemon's standard output leads nowhere */
  constructor(
    parts: readonly Part[],
    limits: MemoryLimits,
    rules: SamplingRules,
    log: Logger,
    logsLedger = false,
  ) {
    this.parts = parts;
    this.failed = Promise.race(parts.map((part) => part.failed));
    this.failed.catch(() => {}); // heard of wherever it is waited for
    this.lonely = Promise.race(parts.map((part) => part.lonely)).then(() => {
      this.#isLonely = true;
    });
    this.#logsLedger = logsLedger;
    this.#log = log;
    this.#limits = limits;
    this.#rules = rules;
    this.#guard = new MemoryGuard(limits.maxMemoryBytes);
    this.#timers = [
      setInterval(() => this.#logFigures(), REPORT_EVERY_MS),
      setInterval(() => this.#watchMemory(), WATCH_MEMORY_EVERY_MS),
    ];
  }

  /** What all parts have counted. */
  figures(): ReplayFigures {
    return mergeFigures(this.parts.map((part) => part.status.figures));
  }

  /** Looks for the first signs of what may be wrong, from now on. */
  lookForSigns(source: SignSource): void {
    const signs = new FirstSigns(source, performance.now(), (text, isTrouble) => {
      if (isTrouble) this.#log.warn(text);
      else this.#log.info(text);
    });
    const timer = setInterval(() => {
      const { ledger, counters, injected } = this.figures();
      const requestsOf = source.ports.map((_, index) =>
        this.parts.reduce((sum, { status }) => sum + (status.requestsOf[index] ?? 0), 0)
      );
      const { heldPackets: held, responsePackets: answers } = counters;
      const figures = { requestsOf, sessions: ledger.seen, sent: injected, held, answers };
      if (!signs.look(figures, performance.now())) clearInterval(timer);
    }, LOOK_FOR_SIGNS_EVERY_MS);
    this.#timers.push(timer);
  }

  /** Lets sessions begin, or no longer, in every part; `figures` are of that moment then. */
  async setSampling(sampling: boolean): Promise<void> {
    await Promise.all(this.parts.map((part) => part.setSampling(sampling)));
  }

  /** The last line of the log, and the ledger. */
  report(final: readonly PartStatus[]): void {
    const figures = mergeFigures(final.map((status) => status.figures));
    const usage = this.#usage.sinceStart();
    this.#log.info(summarize(figures, usage));
    this.#warn(figures);
    const ledger = formatLedger(figures, usage);
    console.log(ledger);
    if (this.#logsLedger) { for (const line of ledger.split("\n")) this.#log.info(line); }
  }

  /** Puts other settings in force, in every part. */
  reconfigure(limits: MemoryLimits, next: Omit<Reconfiguration, "maxPayloadBytes">): void {
    this.#drawBefore = this.figures().counters;
    this.#isFarDrawTold = false;
    this.#rules = next;
    this.#limits = limits;
    this.#guard.capBytes = limits.maxMemoryBytes;
    const maxPayloadBytes = Math.floor(limits.maxPayloadBytes / this.parts.length);
    for (const part of this.parts) part.reconfigure({ ...next, maxPayloadBytes });
  }

  /** @throws Error when the replay had to end because the last intercept is gone */
  assertIntercept(): void {
    if (!this.#isLonely) return;
    throw new Error("the last intercept is gone: ending (--exit-without-intercept)");
  }

  [Symbol.dispose](): void {
    for (const timer of this.#timers) clearInterval(timer);
  }

  #logFigures(): void {
    const figures = this.figures();
    const recent = figures.delays.since(this.#loggedDelays);
    this.#log.info(summarize(figures, this.#usage.sinceLast(), recent));
    this.#loggedDelays = figures.delays;
    this.#warn(figures);
  }

  /** Says, once each, what the user will hardly have meant. */
  #warn({ counters, overIpv6 }: ReplayFigures): void {
    if (overIpv6 > 0 && !this.#isIpv6Told) {
      this.#isIpv6Told = true;
      this.#log.warn(
        `${formatCount(overIpv6)} connections over IPv6 so far, which is not replayed: the ` +
          "replay is without those clients",
      );
    }
    if (this.#isFarDrawTold) return;
    const text = describeFarDraw(drawSince(counters, this.#drawBefore), this.#rules);
    if (text === undefined) return;
    this.#isFarDrawTold = true;
    this.#log.warn(text);
  }

  #watchMemory(): void {
    let payloadBytes = 0;
    let shedSessions = 0;
    for (const { status } of this.parts) {
      payloadBytes += status.payloadBytes;
      shedSessions += status.figures.ledger.ended[Outcome.Shed];
    }
    const wasShort = this.#guard.isShort;
    const notice = this.#guard.look({
      residentBytes: this.#usage.residentBytes(),
      payloadBytes,
      maxPayloadBytes: this.#limits.maxPayloadBytes,
      shedSessions,
    }, performance.now());
    if (this.#guard.isShort !== wasShort) {
      for (const part of this.parts) part.setShedding(this.#guard.isShort);
    }
    if (notice === undefined) return;
    if (notice.isTrouble) this.#log.warn(notice.text);
    else this.#log.info(notice.text);
  }
}
