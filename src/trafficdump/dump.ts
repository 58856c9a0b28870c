/**
 * A dump: sampling, the writer and portrait data together, without a source of data. Sources (the
 * capture, filters of a proxy or a server) ask it which window is open and are told when it closes.
 */

import type { Logger } from "@logtape/logtape";
import { SamplingLoop } from "../cli/sampling_loop.ts";
import { formatCount } from "../observe/report.ts";
import type { Sampler } from "../sampling/sampler.ts";
import { strategyJson } from "../sampling/strategy.ts";
import type { FileReader } from "../sampling/system_load.ts";
import { DumpCounters } from "./counters.ts";
import { goJson } from "./exact_json.ts";
import { readPortrait } from "./portrait.ts";
import { DumpWriter, type DumpWriterOptions } from "./writer.ts";

/** How a dump is made. */
export interface DumpOptions extends Omit<DumpWriterOptions, "onTrouble"> {
  log: Logger;
  /** The lower bound of the interval, if it was lifted, s. */
  minIntervalS?: number;
  /** Reads the files that tell the system's load, instead of the real ones. */
  readSystemFile?: FileReader;
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

/** The disk has taken everything for so long when that is said. */
const RECOVERED_AFTER_MS = 1_000;

export class Dump {
  readonly sampling: SamplingLoop;
  readonly writer: DumpWriter;
  readonly counters = new DumpCounters();
  readonly log: Logger;
  readonly #options: DumpOptions;
  readonly #sources: DumpSource[] = [];
  #saysTrouble = false;
  #recovered: ReturnType<typeof setTimeout> | undefined;
  #writing = false;
  #closed = false;
  #seen = new DumpCounters();

  constructor(options: DumpOptions) {
    this.#options = options;
    const { log } = options;
    this.log = log;
    this.writer = new DumpWriter({
      ...options,
      onTrouble: (reason) => this.#onTrouble(reason),
    });
    this.sampling = new SamplingLoop(
      {
        onOpen: (window) => this.#onOpen(window),
        onClose: (window) => this.#onClose(window),
        onSkip: (reason) => log.warn(`no window is opened: ${reason}`),
        onFuse: (reason) => this.#onFuse(reason),
      },
      options.minIntervalS,
      options.readSystemFile,
    );
  }

  get sampler(): Sampler {
    return this.sampling.sampler;
  }

  /** The window data may be written to at this moment. */
  get window(): string | undefined {
    return this.sampler.writable;
  }

  addSource(source: DumpSource): void {
    this.#sources.push(source);
  }

  /**
   * Takes a portrait report: see `readPortrait`.
   *
   * @returns why it is not wanted now, or undefined
   * @throws PortraitError when it is no report
   */
  report(body: unknown): string | undefined {
    const { businessType, port, data } = readPortrait(body);
    const refusal = this.sampler.report(businessType, this.sampling.nowMs);
    if (refusal !== undefined) return refusal;
    const json = this.#options.files.asLayotto ? goJson(data) : JSON.stringify(data);
    const window = this.sampler.window;
    const isTaken = this.writer.line("portrait", `[${window}][${businessType}][${port}]${json}`);
    return isTaken ? undefined : "too much is waiting to be written";
  }

  /** What an operator wants to know. */
  status(): Record<string, unknown> {
    const { sampler, writer } = this;
    this.sampling.refresh();
    const deadlineMs = sampler.nextDeadlineMs();
    return {
      on: sampler.effective.isOn,
      window: sampler.window ?? null,
      fuse: sampler.fuse ?? null,
      nextChangeInS: deadlineMs === Infinity
        ? null
        : Math.max(0, (deadlineMs - this.sampling.nowMs) / 1000),
      app: strategyJson(sampler.app),
      global: strategyJson(sampler.global),
      forcedOffBy: sampler.forcedOffBy ?? null,
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
    this.sampling.stop();
    clearTimeout(this.#recovered);
    await this.writer.close();
    this.log.info(`written: ${this.#totals()}`);
  }

  /** A disk that is nearly full takes some pieces and others not: not every change is a line. */
  #onTrouble(reason: string | undefined): void {
    clearTimeout(this.#recovered);
    if (reason === undefined) {
      this.#recovered = setTimeout(() => {
        this.#saysTrouble = false;
        this.log.info("the log directory takes data again");
      }, RECOVERED_AFTER_MS);
    } else if (!this.#saysTrouble) {
      this.#saysTrouble = true;
      this.log.warn(`nothing can be written, data is lost and counted: ${reason}`);
    }
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
    this.writer.openWindow(window, { memory, static: this.sampling.configurationJson });
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
