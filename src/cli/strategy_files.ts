/**
 * The configuration files: read at the start, on request, and when they have changed. Reads files.
 */

import type { Logger } from "@logtape/logtape";
import { StrategyError } from "../sampling/strategy.ts";
import type { SamplingLoop } from "./sampling_loop.ts";

/** Which files there are; both may be missing. */
export interface StrategyFilePaths {
  /** A Layotto configuration, or one of our own: see `parseStrategyDocument`. */
  app: string | undefined;
  /** A single strategy, the global one. */
  global: string | undefined;
}

/**
 * A file is looked at this often. Notifications of the kernel would miss files that are replaced by
 * a link, as in containers, and file systems that have none.
 */
const LOOK_EVERY_MS = 500;
const MAX_FILE_BYTES = 16 << 20;

/** One of the files. */
interface StrategyFile {
  path: string;
  load(text: string, isRestated: boolean): void;
  /** Changes when the file does. */
  mark: string;
}

export class StrategyFiles {
  readonly #sampling: SamplingLoop;
  readonly #log: Logger;
  readonly #files: StrategyFile[] = [];
  #timer: ReturnType<typeof setInterval> | undefined;

  /** @param onTaken is called with the text of the configuration, `app`, whenever it was taken */
  constructor(
    sampling: SamplingLoop,
    log: Logger,
    paths: StrategyFilePaths,
    onTaken: (text: string) => void = () => {},
  ) {
    this.#sampling = sampling;
    this.#log = log;
    const { app, global } = paths;
    if (app !== undefined) {
      this.#add(app, (text, isRestated) => {
        sampling.load(text, app, isRestated);
        onTaken(text);
      });
    }
    if (global !== undefined) {
      const source = `the global file ${global}`;
      this.#add(global, (text, isRestated) => sampling.loadGlobal(text, source, isRestated));
    }
  }

  /** Reads the files. Returns why one was refused; what it says then changes nothing. */
  load(): string | undefined {
    const refusals = this.#files.flatMap((file) => this.#read(file, true) ?? []);
    return refusals.length === 0 ? undefined : refusals.join("; ");
  }

  /** Reads the files again and says so in the log. Returns why one was refused. */
  reload(why: string): string | undefined {
    const refusal = this.load();
    this.#say(why, refusal);
    return refusal;
  }

  /**
   * Begins to look for changes. Of a file that has changed only what it says anew counts: the rest may
   * have been said otherwise since, by another source.
   */
  watch(): void {
    this.#timer = setInterval(() => {
      for (const file of this.#files) {
        const now = markOf(file.path);
        if (now === file.mark) continue;
        const what = now === "" ? "cannot be seen any more" : "has changed";
        this.#say(`${file.path} ${what}`, this.#read(file, false));
      }
    }, LOOK_EVERY_MS);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #add(path: string, load: StrategyFile["load"]): void {
    this.#files.push({ path, load, mark: "" });
  }

  #read(file: StrategyFile, isRestated: boolean): string | undefined {
    try {
      file.mark = markOf(file.path);
      file.load(readText(file.path), isRestated);
      return undefined;
    } catch (error) {
      return refusalOf(file.path, error);
    }
  }

  #say(why: string, refusal: string | undefined): void {
    if (refusal !== undefined) {
      this.#log.warn(`${why}: refused, the old strategy stays: ${refusal}`);
    } else this.#log.info(`${why}: sampling is ${this.#sampling.describe()}`);
  }
}

/** Changes when the file does; "" when it cannot be seen. */
function markOf(path: string): string {
  try {
    const { mtime, size, ino } = Deno.statSync(path);
    return `${mtime?.getTime()} ${size} ${ino}`;
  } catch {
    // Being replaced, or out of reach: reading it says why.
    return "";
  }
}

function readText(path: string): string {
  const { size } = Deno.statSync(path);
  if (size > MAX_FILE_BYTES) {
    throw new StrategyError(`expected a configuration of at most 16 MB, came ${size} bytes`);
  }
  return Deno.readTextFileSync(path);
}

function refusalOf(path: string, error: unknown): string {
  const { message } = error as Error;
  return error instanceof StrategyError
    ? `${path}: ${message}`
    : `${path} cannot be read: ${message}`;
}
