/**
 * How much a dump may take of the disk: a cap on all its files together, and a minimum of free space
 * that is left to others. Touches only its own directory; deletes its own old files.
 */

import { statfsSync } from "node:fs";

/** Bounds of a directory. */
export interface DiskLimits {
  /** Most bytes of all files together. */
  maxBytes: number;
  /** Free bytes that stay; undefined: 10 % of the file system, but not more than 1 GiB. */
  minFreeBytes?: number;
}

const FREE_SHARE = 0.1;
const MAX_FREE_BYTES = 1 << 30;

/** An old file of the dump. */
interface OldFile {
  name: string;
  bytes: number;
  modifiedMs: number;
}

export class DiskBudget {
  /** Bytes of all files, old and current. */
  usedBytes = 0;
  /** Files deleted to stay within the cap. */
  deletedFiles = 0;
  readonly #directory: string;
  readonly #limits: DiskLimits;
  readonly #isOwn: (name: string) => boolean;
  readonly #isCurrent: (name: string) => boolean;
  /** Files nobody writes to any more, oldest first. */
  #old: OldFile[] = [];

  /**
   * Looks at what is there.
   *
   * @param isOwn whether a file name is one the dump gives
   * @param isCurrent whether it is one that will be continued
   */
  constructor(
    directory: string,
    limits: DiskLimits,
    isOwn: (name: string) => boolean,
    isCurrent: (name: string) => boolean,
  ) {
    this.#directory = directory;
    this.#limits = limits;
    this.#isOwn = isOwn;
    this.#isCurrent = isCurrent;
    this.rescan();
  }

  /** Looks again: others may have removed files. Not while a file is written that will not go on. */
  rescan(): void {
    this.usedBytes = 0;
    this.#old = [];
    for (const { name, isFile } of Deno.readDirSync(this.#directory)) {
      if (!isFile || !this.#isOwn(name)) continue;
      const { size, mtime } = Deno.statSync(`${this.#directory}/${name}`);
      this.usedBytes += size;
      if (!this.#isCurrent(name)) {
        this.#old.push({ name, bytes: size, modifiedMs: mtime?.getTime() ?? 0 });
      }
    }
    this.#old.sort((a, b) => a.modifiedMs - b.modifiedMs);
  }

  /**
   * Asks for room, and makes some by deleting the oldest files.
   *
   * @returns why there is none, or undefined; then `usedBytes` includes the bytes
   */
  take(bytes: number): string | undefined {
    const { maxBytes } = this.#limits;
    while (this.usedBytes + bytes > maxBytes) {
      if (!this.#deleteOldest()) return `the files together may have ${mb(maxBytes)}`;
    }
    const { free, min } = this.space();
    if (free - bytes < min) {
      return `${mb(free)} are free on the disk, and ${mb(min)} have to stay free`;
    }
    this.usedBytes += bytes;
    return undefined;
  }

  /** Bytes that were taken and not written, or that are gone. */
  giveBack(bytes: number): void {
    this.usedBytes -= bytes;
  }

  /** A file will not be continued. */
  retire(name: string, bytes: number, nowMs: number): void {
    this.#old.push({ name, bytes, modifiedMs: nowMs });
  }

  /** Free space now, and what has to stay of it. */
  space(): { free: number; min: number } {
    const { bavail, bsize, blocks } = statfsSync(this.#directory);
    const min = this.#limits.minFreeBytes ??
      Math.min(MAX_FREE_BYTES, Math.floor(blocks * bsize * FREE_SHARE));
    return { free: bavail * bsize, min };
  }

  #deleteOldest(): boolean {
    const oldest = this.#old.shift();
    if (oldest === undefined) return false;
    try {
      Deno.removeSync(`${this.#directory}/${oldest.name}`);
      this.deletedFiles++;
    } catch (error) {
      // Somebody else has cleaned up; the room is there either way.
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
    this.usedBytes -= oldest.bytes;
    return true;
  }
}

function mb(bytes: number): string {
  const value = bytes / (1 << 20);
  return `${value >= 10 ? Math.round(value) : value.toFixed(1)} MB`;
}
