/** What this process takes: CPU time and memory. Reads the clock and asks the kernel. */

import process from "node:process";

/** What was taken between two moments. */
export interface Usage {
  /** CPU time of all threads, ms. */
  cpuMs: number;
  /** The time it was taken in, ms. */
  elapsedMs: number;
  /** Resident memory at the end, and the most that was seen since the start, bytes. */
  residentBytes: number;
  maxResidentBytes: number;
}

/** Counts from when it was made. */
export class ProcessUsage {
  readonly #startCpuMs = cpuMs();
  readonly #startMs = performance.now();
  #lastCpuMs = this.#startCpuMs;
  #lastMs = this.#startMs;
  #maxResidentBytes = 0;

  /** Resident memory, bytes; looked at often, it knows the most there was. */
  residentBytes(): number {
    const { rss } = Deno.memoryUsage();
    this.#maxResidentBytes = Math.max(this.#maxResidentBytes, rss);
    return rss;
  }

  /** What was taken since the last call of this, or since the start. */
  sinceLast(): Usage {
    const usage = this.#since(this.#lastCpuMs, this.#lastMs);
    this.#lastCpuMs += usage.cpuMs;
    this.#lastMs += usage.elapsedMs;
    return usage;
  }

  /** What was taken in all. */
  sinceStart(): Usage {
    return this.#since(this.#startCpuMs, this.#startMs);
  }

  #since(fromCpuMs: number, fromMs: number): Usage {
    const residentBytes = this.residentBytes();
    return {
      cpuMs: cpuMs() - fromCpuMs,
      elapsedMs: performance.now() - fromMs,
      residentBytes,
      maxResidentBytes: this.#maxResidentBytes,
    };
  }
}

/** CPU time of all threads of this process, ms. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
