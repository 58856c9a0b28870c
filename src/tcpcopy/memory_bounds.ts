/** What the system allows of the memory that was asked for with -m. Pure but for the reader it is given. */

import { UsageError } from "../cli/fatal.ts";
import { addressSpaceLeft, groupMemoryLimit } from "../sampling/memory_limit.ts";
import type { FileReader } from "../sampling/system_load.ts";
import { minMemoryMb } from "./memory_guard.ts";

/**
 * How much of its control group's memory the process may have. The kernel counts more there than the
 * process has resident: what it reads, and its own book-keeping.
 */
const GROUP_SHARE = 0.9;
/** Address space that the engine reserves for each worker, bytes (measured: 840 MB). */
const WORKER_ADDRESS_BYTES = 900 << 20;
const MB = 1 << 20;

/** The cap there is. */
export interface MemoryBound {
  /** No cap may be larger, bytes; Infinity without a limit. */
  maxMemoryBytes: number;
  /** What is to be said about it; undefined when all is as asked for. */
  notice: string | undefined;
}

/**
 * Bounds the memory cap by the limits of the process.
 *
 * @param wantedBytes the cap that was asked for
 * @throws UsageError when they leave too little to work with
 */
export function boundMemory(
  wantedBytes: number,
  workers: number,
  read: FileReader,
): MemoryBound {
  const bound = boundByGroup(wantedBytes, workers, read);
  const capBytes = Math.min(wantedBytes, bound.maxMemoryBytes);
  const neededBytes = capBytes + (workers === 1 ? 0 : workers * WORKER_ADDRESS_BYTES);
  const leftBytes = addressSpaceLeft(read);
  const withWorkers = workers === 1 ? "" : ` with ${workers} workers`;
  if (leftBytes >= neededBytes) return bound;
  throw new UsageError(
    `the limit on address space (ulimit -v) leaves ${mb(leftBytes)} MB, and -m ${mb(capBytes)}` +
      `${withWorkers} takes up to ${mb(neededBytes)} MB; raise it (ulimit -v unlimited, ` +
      "LimitAS=infinity of systemd): -m and control groups limit memory",
  );
}

function boundByGroup(wantedBytes: number, workers: number, read: FileReader): MemoryBound {
  const limit = groupMemoryLimit(read);
  if (limit === undefined) return { maxMemoryBytes: Infinity, notice: undefined };
  const maxMemoryBytes = Math.floor(limit.sizeBytes * GROUP_SHARE);
  const least = minMemoryMb(workers);
  const allows = `the control group allows ${mb(limit.sizeBytes)} MB (${limit.path})`;
  if (maxMemoryBytes < least * MB) {
    throw new UsageError(
      `${allows}, of which ${mb(maxMemoryBytes)} are for this process, and it needs at least ` +
        `${least}: raise the group's limit to ${Math.ceil(least / GROUP_SHARE)} MB or more` +
        (workers === 1 ? "" : ", or lower --workers"),
    );
  }
  const notice = wantedBytes <= maxMemoryBytes
    ? undefined
    : `-m ${mb(wantedBytes)}: ${allows}, so that the cap is ${mb(maxMemoryBytes)} MB`;
  return { maxMemoryBytes, notice };
}

function mb(bytes: number): number {
  return Math.floor(bytes / MB);
}
