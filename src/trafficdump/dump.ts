/**
 * A dump: sampling, the writer and portrait data together, without a source of data. Sources (the
 * capture, filters of a proxy or a server) ask it which window is open and are told when it closes.
 */

import type { Logger } from "@logtape/logtape";
import { formatCount } from "../observe/report.ts";
import { Sampler } from "../sampling/sampler.ts";
import { StrategyError, strategyJson, type StrategyLevel } from "../sampling/strategy.ts";
import { parseStrategyDocument } from "../sampling/strategy_document.ts";
import { type FileReader, SystemLoad } from "../sampling/system_load.ts";
import { DumpCounters } from "./counters.ts";
import { type PortraitReport, readPortrait } from "./portrait.ts";
import { DumpWriter, type DumpWriterOptions } from "./writer.ts";

/** How a dump is made. */
export interface DumpOptions extends Omit<DumpWriterOptions, "onTrouble"> {
  log: Logger;
  /** The lower bound of the interval, if it was lifted, s. */
  minIntervalS?: number;
  /** What else belongs to the effective configuration, for dump_mem_dump.log. */
  settings?: Record<string, unknown>;
}

/** Something data comes from. */
export interface DumpSource {
  /** A window has opened, or may be written to again. */
  begin(): void;
  /** Nothing more may be taken; what was taken is to be handed to the outbox. */
  end(): void;
}

/** How often the system is looked at while it matters. */
const LOOK_EVERY_MS = 150;
/** Before a window opens the system is looked at for so long. */
const LOOK_AHEAD_MS = 2_000;
const LONGEST_SLEEP_MS = 1_000;

export class Dump {
  readonly sampler: Sampler;
  readonly writer: DumpWriter;
  readonly counters = new DumpCounters();
  readonly log: Logger;
  readonly #options: DumpOptions;
  readonly #load = new SystemLoad(readSystemFile);
  readonly #sources: DumpSource[] = [];
  #staticText = "null";
  #timer: ReturnType<typeof setTimeout> | undefined;
  #writing = false;
  #closed = false;
  #seen = new DumpCounters();

  constructor(options: DumpOptions) {
    this.#options = options;
    const { log } = options;
    this.log = log;
    this.writer = new DumpWriter({
      ...options,
      onTrouble: (reason) => {
        if (reason === undefined) log.info("the log directory takes data again");
        else log.warn(`nothing can be written, data is lost and counted: ${reason}`);
      },
    });
    this.sampler = new Sampler({
      newWindow: () => crypto.randomUUID(),
      minIntervalS: options.minIntervalS,
      events: {
        onOpen: (window) => this.#onOpen(window),
        onClose: (window) => this.#onClose(window),
        onSkip: (reason) => log.warn(`no window is opened: ${reason}`),
        onFuse: (reason) => this.#onFuse(reason),
      },
    });
  }

  /** The window data may be written to at this moment. */
  get window(): string | undefined {
    return this.sampler.writable;
  }

  addSource(source: DumpSource): void {
    this.#sources.push(source);
  }

  /** Begins the sampling loop. */
  start(): void {
    this.#turn();
  }

  /** Takes a configuration's text. @throws StrategyError; then everything stays as it was */
  load(text: string): void {
    const document = parseStrategyDocument(text, this.#options.minIntervalS);
    this.#staticText = JSON.stringify(JSON.parse(text));
    this.sampler.take(document, nowMs());
    this.#turn();
  }

  /** Takes the text of a file with the global strategy. @throws StrategyError, as `load` */
  loadGlobal(text: string): void {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (error) {
      throw new StrategyError(`expected JSON (${(error as Error).message})`);
    }
    this.update("global", value);
  }

  /** Takes one new strategy. @throws StrategyError; then the old one stays */
  update(level: StrategyLevel, value: unknown): void {
    this.sampler.update(level, value, nowMs());
    this.#turn();
  }

  /** Takes a portrait report. Returns why it is refused, or undefined. */
  report(body: unknown): string | undefined {
    let report: PortraitReport;
    try {
      report = readPortrait(body);
    } catch (error) {
      return (error as Error).message;
    }
    const refusal = this.sampler.report(report.businessType, nowMs());
    if (refusal !== undefined) return refusal;
    const { businessType, port, json } = report;
    const window = this.sampler.window;
    const isTaken = this.writer.line("portrait", `[${window}][${businessType}][${port}]${json}`);
    return isTaken ? undefined : "too much is waiting to be written";
  }

  /** What an operator wants to know. */
  status(): Record<string, unknown> {
    const { sampler, writer } = this;
    if (!this.#mattersNow()) sampler.noteRates(this.#load.look(nowMs()), nowMs());
    const deadlineMs = sampler.nextDeadlineMs();
    return {
      on: sampler.effective.isOn,
      window: sampler.window ?? null,
      fuse: sampler.fuse ?? null,
      nextChangeInS: deadlineMs === Infinity ? null : Math.max(0, (deadlineMs - nowMs()) / 1000),
      app: strategyJson(sampler.app),
      global: strategyJson(sampler.global),
      rates: sampler.rates ?? null,
      windows: { opened: sampler.opened, skipped: sampler.skipped, fused: sampler.fuseTrips },
      taken: { ...this.counters },
      written: { ...writer.counters },
      queuedBytes: writer.outbox.inFlightBytes,
      trouble: writer.trouble ?? null,
    };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#timer);
    this.sampler.stop(nowMs());
    await this.writer.close();
    this.log.info(`written: ${this.#totals()}`);
  }

  /** One look at the clock and, if it matters now, at the system. */
  #turn(): void {
    clearTimeout(this.#timer);
    if (this.#closed) return;
    const now = nowMs();
    if (this.#mattersNow()) this.sampler.noteRates(this.#load.look(now), now);
    this.sampler.advance(now);
    const matters = this.#mattersNow();
    const untilMs = this.sampler.nextDeadlineMs() - now - (matters ? 0 : LOOK_AHEAD_MS);
    const sleepMs = Math.min(matters ? LOOK_EVERY_MS : LONGEST_SLEEP_MS, Math.max(1, untilMs));
    this.#timer = setTimeout(() => this.#turn(), sleepMs);
  }

  #mattersNow(): boolean {
    return this.sampler.window !== undefined ||
      this.sampler.nextDeadlineMs() - nowMs() <= LOOK_AHEAD_MS;
  }

  #onOpen(window: string): void {
    const { app, global, effective } = this.sampler;
    const memory = JSON.stringify({
      app: strategyJson(app),
      global: strategyJson(global),
      effective: strategyJson({ ...effective, switch: effective.isOn ? "ON" : "OFF" }),
      ...this.#options.settings,
    });
    this.log.info(`window ${window} is open for ${effective.durationS} s`);
    this.writer.openWindow(window, { memory, static: this.#staticText });
    this.#begin();
  }

  #onClose(window: string): void {
    this.#end();
    this.writer.closeWindow();
    this.log.info(`window ${window} is closed; ${this.#windowSummary()}`);
  }

  #onFuse(reason: string | undefined): void {
    if (reason === undefined) {
      this.log.info("the system has recovered: the window goes on");
      this.#begin();
      return;
    }
    this.log.warn(`nothing is written: ${reason}`);
    this.#end();
    this.writer.drop();
  }

  #begin(): void {
    if (this.#writing) return;
    this.#writing = true;
    for (const source of this.#sources) source.begin();
  }

  #end(): void {
    if (!this.#writing) return;
    this.#writing = false;
    for (const source of this.#sources) source.end();
  }

  /** What was taken since the last window's end. */
  #windowSummary(): string {
    const { counters } = this;
    const seen = this.#seen;
    this.#seen = { ...counters };
    const parts = [
      `${formatCount(counters.connections - seen.connections)} connections`,
      `${formatCount(counters.records - seen.records)} records with ` +
      `${formatCount(counters.recordBytes - seen.recordBytes)} bytes`,
    ];
    const add = (count: number, what: string) => {
      if (count > 0) parts.push(`${formatCount(count)} ${what}`);
    };
    add(counters.shedRecords - seen.shedRecords, "records shed");
    add(counters.shedBytes - seen.shedBytes, "bytes in them");
    add(counters.shedPackets - seen.shedPackets, "connections cut out of the pcapng");
    add(counters.gaps - seen.gaps, "connections with missing packets");
    add(counters.outOfMemory - seen.outOfMemory, "connections given up for want of memory");
    return parts.join(", ");
  }

  #totals(): string {
    const { counters, writer } = this;
    const written = writer.counters;
    const parts = [
      `${formatCount(written.records)} records with ${formatCount(written.recordBytes)} bytes, ` +
      `${formatCount(written.packets)} packets, ${formatCount(written.fileBytes)} bytes of files`,
    ];
    const add = (count: number, what: string) => {
      if (count > 0) parts.push(`${formatCount(count)} ${what}`);
    };
    add(counters.shedRecords, `records shed (${formatCount(counters.shedBytes)} bytes)`);
    add(
      written.failedRecords,
      `records lost on the disk (${formatCount(written.failedBytes)} bytes)`,
    );
    add(written.fusedRecords, `records given up by the fuse`);
    add(written.deletedFiles, "old files deleted");
    return parts.join("; ");
  }
}

const readSystemFile: FileReader = (path) => {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    // There is no such file, or it may not be read: the same to the caller.
    return undefined;
  }
};

function nowMs(): number {
  return Math.floor(performance.now());
}
