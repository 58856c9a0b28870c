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

export class StrategyFiles {
  readonly #sampling: SamplingLoop;
  readonly #log: Logger;
  readonly #files: { path: string; load: (text: string) => void; mark: string }[] = [];
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(sampling: SamplingLoop, log: Logger, paths: StrategyFilePaths) {
    this.#sampling = sampling;
    this.#log = log;
    const { app, global } = paths;
    if (app !== undefined) {
      this.#files.push({ path: app, load: (text) => sampling.load(text), mark: "" });
    }
    if (global !== undefined) {
      this.#files.push({ path: global, load: (text) => sampling.loadGlobal(text), mark: "" });
    }
  }

  /** Reads the files. Returns why one was refused; what it says then changes nothing. */
  load(): string | undefined {
    const refusals: string[] = [];
    for (const file of this.#files) {
      try {
        file.mark = markOf(file.path);
        file.load(readText(file.path));
      } catch (error) {
        refusals.push(refusalOf(file.path, error));
      }
    }
    return refusals.length === 0 ? undefined : refusals.join("; ");
  }

  /** Reads the files again and says so in the log. Returns why one was refused. */
  reload(why: string): string | undefined {
    const refusal = this.load();
    if (refusal !== undefined) {
      this.#log.warn(`${why}: refused, the old strategy stays: ${refusal}`);
    } else this.#log.info(`${why}: sampling is ${this.#sampling.describe()}`);
    return refusal;
  }

  /** Begins to look for changes. */
  watch(): void {
    this.#timer = setInterval(() => {
      for (const { path, mark } of this.#files) {
        const now = markOf(path);
        if (now === mark) continue;
        // Reads all of them.
        this.reload(`${path} ${now === "" ? "cannot be seen any more" : "has changed"}`);
        break;
      }
    }, LOOK_EVERY_MS);
  }

  close(): void {
    clearInterval(this.#timer);
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
