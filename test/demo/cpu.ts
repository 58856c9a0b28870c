/** The CPU a process uses during a phase. Reads /proc. */

import type { LabProcess } from "../lab/process.ts";
import type { CpuUse } from "./table.ts";

export class CpuMeter {
  readonly #process: LabProcess;
  readonly #startSeconds: number;
  readonly #startMs = performance.now();
  #seconds = 0;
  #elapsedMs = 0;

  /** Begins now: what the process used before, for its start, does not count. */
  constructor(process: LabProcess) {
    this.#process = process;
    this.#startSeconds = process.cpuSeconds();
  }

  /** Looks again; after the process has ended, the last look counts. */
  look(): void {
    const seconds = this.#process.cpuSeconds();
    if (seconds === 0) return;
    this.#seconds = seconds - this.#startSeconds;
    this.#elapsedMs = performance.now() - this.#startMs;
  }

  use(requests: number): CpuUse {
    return {
      usPerRequest: requests === 0 ? NaN : this.#seconds * 1e6 / requests,
      shareOfCore: this.#elapsedMs === 0 ? NaN : this.#seconds * 1000 / this.#elapsedMs,
    };
  }
}
