/**
 * Keeps a sampler going: gives it the time, and looks at the system when that matters. Reads the clock,
 * /proc and /sys.
 */

import { Sampler, type SamplerEvents } from "../sampling/sampler.ts";
import { parseStrategy, type StrategyLevel } from "../sampling/strategy.ts";
import { parseJsonObject, parseStrategyDocument } from "../sampling/strategy_document.ts";
import { type FileReader, SystemLoad } from "../sampling/system_load.ts";
import { maskSecrets } from "../secrets.ts";

/** How often the system is looked at while it matters. */
const LOOK_EVERY_MS = 150;
/** Before a window opens the system is looked at for so long. */
const LOOK_AHEAD_MS = 2_000;
const LONGEST_SLEEP_MS = 1_000;

export class SamplingLoop {
  readonly sampler: Sampler;
  /** The configuration as it was read last, in one line and without its secrets. */
  configurationJson = "null";
  readonly #minIntervalS: number | undefined;
  readonly #load: SystemLoad;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isRunning = false;

  /**
   * @param minIntervalS the lower bound of the interval, if it was lifted
   * @param read reads the files of /proc and /sys that tell the load
   */
  constructor(events: SamplerEvents, minIntervalS?: number, read: FileReader = readSystemFile) {
    this.#load = new SystemLoad(read);
    this.#minIntervalS = minIntervalS;
    this.sampler = new Sampler({ events, newWindow: () => crypto.randomUUID(), minIntervalS });
  }

  /** ms on the sampler's clock. */
  get nowMs(): number {
    return Math.floor(performance.now());
  }

  start(): void {
    this.#isRunning = true;
    this.#turn();
  }

  /** Closes an open window. */
  stop(): void {
    this.#isRunning = false;
    clearTimeout(this.#timer);
    this.sampler.stop(this.nowMs);
  }

  /**
   * Takes a configuration's text.
   *
   * @param isRestated all of it is said anew; else only what has changed in it
   * @throws StrategyError; then everything stays as it was
   */
  load(text: string, source: string, isRestated: boolean): void {
    const document = parseStrategyDocument(text, this.#minIntervalS);
    this.configurationJson = JSON.stringify(maskSecrets(JSON.parse(text)));
    this.sampler.take(document, this.nowMs, source, isRestated);
    this.#turn();
  }

  /** Takes the text of a file with the global strategy. @throws StrategyError, as `load` */
  loadGlobal(text: string, source: string, isRestated: boolean): void {
    const global = parseStrategy(parseJsonObject(text), "global", {
      minIntervalS: this.#minIntervalS,
    });
    this.sampler.take({ app: undefined, global }, this.nowMs, source, isRestated);
    this.#turn();
  }

  /** Takes one new strategy. @throws StrategyError; then the old one stays */
  update(level: StrategyLevel, value: unknown, source?: string): void {
    this.sampler.update(level, value, this.nowMs, source);
    this.#turn();
  }

  /** Takes a look at the system if the last one may be long ago. */
  refresh(): void {
    if (!this.#mattersNow()) this.sampler.noteRates(this.#load.look(this.nowMs), this.nowMs);
  }

  /** "on, windows of 1 s, 30 s apart (one every 31 s)" */
  describe(): string {
    const { forcedOffBy, effective: { isOn, intervalS, durationS } } = this.sampler;
    if (isOn) {
      return `on, windows of ${durationS} s, ${intervalS} s apart ` +
        `(one every ${intervalS + durationS} s)`;
    }
    return forcedOffBy === undefined ? "off" : `off (FORCE_OFF of ${forcedOffBy})`;
  }

  #turn(): void {
    clearTimeout(this.#timer);
    if (!this.#isRunning) return;
    const now = this.nowMs;
    if (this.#mattersNow()) this.sampler.noteRates(this.#load.look(now), now);
    this.sampler.advance(now);
    const matters = this.#mattersNow();
    const untilMs = this.sampler.nextDeadlineMs() - now - (matters ? 0 : LOOK_AHEAD_MS);
    const sleepMs = Math.min(matters ? LOOK_EVERY_MS : LONGEST_SLEEP_MS, Math.max(1, untilMs));
    this.#timer = setTimeout(() => this.#turn(), sleepMs);
  }

  #mattersNow(): boolean {
    const { sampler } = this;
    return sampler.window !== undefined ||
      sampler.nextDeadlineMs() - this.nowMs <= LOOK_AHEAD_MS;
  }
}

/** Reads a file of /proc or /sys. */
export const readSystemFile: FileReader = (path) => {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    // There is no such file, or it may not be read: the same to the caller.
    return undefined;
  }
};
