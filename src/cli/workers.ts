/** How many threads share the work: the option, and what a thread is. */

import { UsageError } from "./fatal.ts";

/** Above this, sharing costs more than another thread brings. */
export const MAX_WORKERS = 16;
/** Nobody who asks for "auto" expects a program beside a service to take more cores than this. */
const MAX_AUTO_WORKERS = 8;

/** Whether this module runs in a worker, and not as the program. */
export function isWorker(): boolean {
  return "DedicatedWorkerGlobalScope" in globalThis;
}

/**
 * Reads the value of `--workers`: a number, or "auto" for one less than there are cores.
 *
 * @throws UsageError for anything else
 */
export function parseWorkers(text: string, cores = navigator.hardwareConcurrency): number {
  if (text === "auto") return Math.min(Math.max(cores - 1, 1), MAX_AUTO_WORKERS);
  const count = /^\d+$/.test(text) ? Number(text) : 0;
  if (count < 1 || count > MAX_WORKERS) {
    throw new UsageError(`--workers ${text}: expected a number from 1 to ${MAX_WORKERS}, or auto`);
  }
  return count;
}
