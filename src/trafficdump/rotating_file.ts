/**
 * A file that is appended to in whole pieces and set aside when it has become long or old. Touches
 * files in its directory only.
 *
 * What always holds: what is in the file is whole pieces; a piece that could not be written whole is
 * taken out again; a file somebody else writes to is left to him, and not set aside.
 */

import { openForAppending } from "../../ffi/safe_path.ts";
import type { DiskBudget } from "./disk_budget.ts";

/** When a file is set aside. */
export interface RotationLimits {
  /** A file is set aside before it grows beyond this. */
  fileBytes: number;
  /** And when it is so old. */
  fileAgeMs: number;
}

const MODE = 0o600;

export class RotatingFile {
  readonly name: string;
  readonly #directory: string;
  readonly #budget: DiskBudget;
  readonly #limits: RotationLimits;
  #file: Deno.FsFile | undefined;
  #bytes = 0;
  #sinceMs = 0;

  constructor(directory: string, name: string, budget: DiskBudget, limits: RotationLimits) {
    this.#directory = directory;
    this.name = name;
    this.#budget = budget;
    this.#limits = limits;
  }

  /** Bytes in the file, once something was appended. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether there is nothing in the file, or no file. */
  isEmpty(): boolean {
    const size = sizeOf(`${this.#directory}/${this.name}`);
    return size === undefined || size === 0;
  }

  /**
   * Appends a piece.
   *
   * @returns why it was not taken, or undefined
   */
  append(piece: Uint8Array, nowMs: number): string | undefined {
    try {
      if (this.#file === undefined) this.#open(nowMs);
      else if (this.#hasGrown(nowMs)) {
        return `another program writes to ${this.name}: give one of them another directory`;
      }
      const isOld = nowMs - this.#sinceMs >= this.#limits.fileAgeMs;
      const isLong = this.#bytes + piece.length > this.#limits.fileBytes;
      if (this.#bytes > 0 && (isOld || isLong)) this.#setAside(nowMs);
      const refusal = this.#budget.take(piece.length);
      if (refusal !== undefined) return refusal;
      return this.#write(piece);
    } catch (error) {
      // A full disk, a quota, a broken one: the file is opened anew for the next piece.
      this.close();
      return (error as Error).message;
    }
  }

  close(): void {
    const file = this.#file;
    this.#file = undefined;
    file?.close();
  }

  #write(piece: Uint8Array): string | undefined {
    const file = this.#file as Deno.FsFile;
    try {
      for (let at = 0; at < piece.length;) at += file.writeSync(piece.subarray(at));
      this.#bytes += piece.length;
      return undefined;
    } catch (error) {
      this.#budget.giveBack(piece.length);
      file.truncateSync(this.#bytes);
      return (error as Error).message;
    }
  }

  #open(nowMs: number): void {
    this.#file = openForAppending(`${this.#directory}/${this.name}`, MODE);
    const { size, birthtime } = this.#file.statSync();
    this.#bytes = size;
    this.#sinceMs = size > 0 ? birthtime?.getTime() ?? nowMs : nowMs;
  }

  /** Somebody may have emptied the file, or removed it. Who has written to it has it for himself. */
  #hasGrown(nowMs: number): boolean {
    const { size, nlink } = (this.#file as Deno.FsFile).statSync();
    if (nlink === 0) {
      this.close();
      this.#open(nowMs);
      return false;
    }
    if (size > this.#bytes) return true;
    this.#bytes = size;
    return false;
  }

  #setAside(nowMs: number): void {
    this.close();
    const stamp = new Date(nowMs).toISOString().slice(0, 19).replace("T", "_").replaceAll(":", "");
    let aside = `${this.name}.${stamp}`;
    for (let number = 1; sizeOf(`${this.#directory}/${aside}`) !== undefined; number++) {
      aside = `${this.name}.${stamp}.${number}`;
    }
    Deno.renameSync(`${this.#directory}/${this.name}`, `${this.#directory}/${aside}`);
    this.#budget.retire(aside, this.#bytes, nowMs);
    this.#open(nowMs);
  }
}

function sizeOf(path: string): number | undefined {
  try {
    return Deno.lstatSync(path).size;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
