/**
 * The sampling loop: opens windows in the rhythm of the strategy and keeps them shut while the
 * system is busy. Pure: time and the system's rates come in, calls go out.
 *
 * What always holds: no window opens, and inside one nothing may be written, unless the last look at
 * the system is recent and found CPU and memory below their maxima; every window that was opened is
 * closed; a strategy that was refused changes nothing; FORCE_OFF stays until who said it takes it back.
 */

import {
  DEFAULT_STRATEGY,
  type EffectiveStrategy,
  effectiveStrategy,
  parseStrategy,
  type Strategy,
  type StrategyLevel,
} from "./strategy.ts";
import type { StrategyDocument } from "./strategy_document.ts";
import { StrategySources } from "./strategy_sources.ts";
import type { SystemRates } from "./system_load.ts";

/** What the sampler tells its owner. */
export interface SamplerEvents {
  /** A window has opened. */
  onOpen?(window: string): void;
  /** It has closed; nothing of it may be written after this. */
  onClose?(window: string): void;
  /** It was time for a window, and the system was too busy. */
  onSkip?(reason: string): void;
  /** Inside a window writing has to stop (with the reason) or may go on (undefined). */
  onFuse?(reason: string | undefined): void;
}

/** How a sampler is made. */
export interface SamplerOptions {
  events?: SamplerEvents;
  /** Makes a name for a window, unlike any before. */
  newWindow(): string;
  /** The lower bound of the interval, if it was lifted, s. */
  minIntervalS?: number;
}

/** Rates older than this say nothing. */
const MAX_RATES_AGE_MS = 2_000;
/** A window that is due while there are none waits for them so long. */
const MAX_RATES_WAIT_MS = 2_000;
/** Business types remembered per window; more are refused. */
const MAX_BUSINESS_TYPES = 1_000;

export class Sampler {
  /** Windows opened, those that the fuse did not let open, and times it tripped in an open one. */
  opened = 0;
  skipped = 0;
  fuseTrips = 0;
  readonly #events: SamplerEvents;
  readonly #newWindow: () => string;
  readonly #minIntervalS: number | undefined;
  readonly #app = new StrategySources();
  readonly #global = new StrategySources();
  #effective: EffectiveStrategy = effectiveStrategy(DEFAULT_STRATEGY, DEFAULT_STRATEGY);
  /** When the current interval began: at the end of the last window, or when it was switched on. */
  #intervalFromMs = 0;
  /** A due window waits for a look at the system until then. */
  #ratesAwaitedUntilMs: number | undefined;
  #window: string | undefined;
  #openedAtMs = 0;
  #rates: SystemRates | undefined;
  #ratesAtMs = -Infinity;
  #fuse: string | undefined;
  #reported = new Set<string>();

  constructor(options: SamplerOptions) {
    this.#events = options.events ?? {};
    this.#newWindow = options.newWindow;
    this.#minIntervalS = options.minIntervalS;
  }

  /** The application's strategy that holds, and the global one. */
  get app(): Strategy {
    return this.#app.inForce;
  }

  get global(): Strategy {
    return this.#global.inForce;
  }

  /** Whose FORCE_OFF is in force; `undefined` when nobody's. */
  get forcedOffBy(): string | undefined {
    return this.#global.forcedOffBy;
  }

  get effective(): EffectiveStrategy {
    return this.#effective;
  }

  get rates(): SystemRates | undefined {
    return this.#rates;
  }

  /** The open window, whether or not the fuse lets anything be written. */
  get window(): string | undefined {
    return this.#window;
  }

  /** Why nothing may be written although a window is open. */
  get fuse(): string | undefined {
    return this.#fuse;
  }

  /** The window data is written to now; undefined when none may be written. */
  get writable(): string | undefined {
    return this.#fuse === undefined ? this.#window : undefined;
  }

  /**
   * Takes a new strategy, as it stands in a JSON document.
   *
   * @param source who says so: see `StrategySources`
   * @throws StrategyError when it cannot be used; the old one stays
   */
  update(level: StrategyLevel, value: unknown, nowMs: number, source = "the program"): void {
    const strategy = parseStrategy(value, level, { minIntervalS: this.#minIntervalS });
    (level === "app" ? this.#app : this.#global).say(source, strategy);
    this.#apply(nowMs);
  }

  /**
   * Takes what a source's document says, which was checked as a whole.
   *
   * @param isRestated the whole document is said anew; else only what has changed in it
   */
  take(document: StrategyDocument, nowMs: number, source: string, isRestated = true): void {
    const { app, global } = document;
    if (isRestated || this.#app.isNews(source, app)) this.#app.say(source, app);
    if (isRestated || this.#global.isNews(source, global)) this.#global.say(source, global);
    this.#apply(nowMs);
  }

  #apply(nowMs: number): void {
    const wasOn = this.#effective.isOn;
    this.#effective = effectiveStrategy(this.app, this.global);
    if (!wasOn && this.#effective.isOn) this.#intervalFromMs = nowMs;
    if (!this.#effective.isOn) this.#close(nowMs);
    this.#judge(nowMs);
    this.advance(nowMs);
  }

  /** Takes a look at the system; undefined when it does not tell. */
  noteRates(rates: SystemRates | undefined, nowMs: number): void {
    if (rates !== undefined) {
      this.#rates = rates;
      this.#ratesAtMs = nowMs;
    }
    this.#judge(nowMs);
  }

  /** When `advance` is to be called next, on the clock of `nowMs`. */
  nextDeadlineMs(): number {
    return this.#ratesAwaitedUntilMs ?? this.#dueMs();
  }

  /** When the next window opens, or the open one closes. */
  #dueMs(): number {
    if (!this.#effective.isOn) return Infinity;
    return this.#window === undefined
      ? this.#intervalFromMs + this.#effective.intervalS * 1000
      : this.#openedAtMs + this.#effective.durationS * 1000;
  }

  /** Opens and closes what is due. */
  advance(nowMs: number): void {
    const awaitedUntilMs = this.#ratesAwaitedUntilMs ?? nowMs + MAX_RATES_WAIT_MS;
    this.#ratesAwaitedUntilMs = undefined;
    if (this.#dueMs() > nowMs) return;
    if (this.#window !== undefined) {
      this.#close(nowMs);
      return;
    }
    // A new strategy may find its window long due, when nobody has looked at the system yet.
    if (!this.#hasRates(nowMs) && nowMs < awaitedUntilMs) {
      this.#ratesAwaitedUntilMs = awaitedUntilMs;
      return;
    }
    const trouble = this.#trouble(nowMs);
    if (trouble !== undefined) {
      this.skipped++;
      this.#intervalFromMs = nowMs;
      this.#events.onSkip?.(trouble);
      return;
    }
    this.opened++;
    this.#openedAtMs = nowMs;
    this.#window = this.#newWindow();
    this.#events.onOpen?.(this.#window);
  }

  /** Closes an open window at once. */
  stop(nowMs: number): void {
    this.#close(nowMs);
  }

  /**
   * Takes a business type's report in the open window: one each.
   *
   * @returns why it is refused, or undefined when it is accepted
   */
  report(businessType: string, nowMs: number): string | undefined {
    if (!this.#effective.isOn) return "sampling is switched off";
    if (this.#window === undefined) return "no sampling window is open";
    this.#judge(nowMs);
    if (this.#fuse !== undefined) return this.#fuse;
    if (this.#reported.has(businessType)) {
      return `${businessType} has already reported in this window`;
    }
    if (this.#reported.size >= MAX_BUSINESS_TYPES) {
      return `${MAX_BUSINESS_TYPES} business types have reported in this window, no more are taken`;
    }
    this.#reported.add(businessType);
    return undefined;
  }

  #close(nowMs: number): void {
    const window = this.#window;
    if (window === undefined) return;
    this.#window = undefined;
    this.#intervalFromMs = nowMs;
    this.#fuse = undefined;
    this.#reported.clear();
    this.#events.onClose?.(window);
  }

  /** Trips or resets the fuse of an open window. */
  #judge(nowMs: number): void {
    if (this.#window === undefined) return;
    const trouble = this.#trouble(nowMs);
    const changed = (trouble === undefined) !== (this.#fuse === undefined);
    this.#fuse = trouble;
    if (!changed) return;
    if (trouble !== undefined) this.fuseTrips++;
    this.#events.onFuse?.(trouble);
  }

  #hasRates(nowMs: number): boolean {
    return nowMs - this.#ratesAtMs <= MAX_RATES_AGE_MS;
  }

  #trouble(nowMs: number): string | undefined {
    const rates = this.#rates;
    if (rates === undefined || !this.#hasRates(nowMs)) {
      return "the system's CPU and memory rates are not known";
    }
    const { cpuMaxPercent, memMaxPercent } = this.#effective;
    if (rates.cpuPercent >= cpuMaxPercent) {
      return `CPU at ${rates.cpuPercent.toFixed(1)} %, the maximum is ${cpuMaxPercent} %`;
    }
    if (rates.memPercent >= memMaxPercent) {
      return `memory at ${rates.memPercent.toFixed(1)} %, the maximum is ${memMaxPercent} %`;
    }
    return undefined;
  }
}
