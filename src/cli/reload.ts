/**
 * What SIGHUP asks for: the log's file is opened again, and the configuration file read again. What may
 * change does, with a line that says so; what needs a restart stays and is named; a file that is no good
 * leaves everything as it was.
 */

import type { Logger } from "@logtape/logtape";
import { onSignals } from "../loop/signals.ts";
import { reopenLog, setLogLevel } from "../observe/log.ts";
import type { GivenOptions } from "./given_options.ts";
import type { Settings } from "./program.ts";
import { endsWithTerminal } from "./terminal.ts";

/** What changed between two readings of a configuration. */
export interface ConfigurationChange {
  /** "percentage 10 -> 50", for options that may change at run time. */
  applied: string[];
  /** The same for all others. */
  needRestart: string[];
}

/** Compares two readings. Pure. */
export function compareOptions(
  before: GivenOptions,
  after: GivenOptions,
  reloadable: ReadonlySet<string>,
): ConfigurationChange {
  const change: ConfigurationChange = { applied: [], needRestart: [] };
  for (const key of new Set([...before.keys(), ...after.keys()])) {
    const [from, to] = [describe(before.get(key)), describe(after.get(key))];
    if (from === to) continue;
    (reloadable.has(key) ? change.applied : change.needRestart).push(`${key} ${from} -> ${to}`);
  }
  return change;
}

function describe(values: string[] | undefined): string {
  return values === undefined ? "(default)" : values.join(", ");
}

/** Options every program can change while it runs. */
const ALWAYS_RELOADABLE = ["log-level"];

/** How a program reloads. */
export interface ReloadOptions<T, O> {
  log: Logger;
  settings: Settings<T>;
  /** Keys of the options that may change at run time, besides "log-level". */
  reloadable: readonly string[];
  /** Makes sense of the options; throws when there is none in them. */
  interpret(given: T): O | Promise<O>;
  /** Puts the reloadable ones in force. */
  apply(options: O): void;
}

/**
 * Opens the log's file and reads the configuration file again on SIGHUP from now on. With neither a
 * configuration file nor a life beyond its terminal the program ends as on SIGTERM: see
 * {@linkcode endsWithTerminal}.
 *
 * @returns a function that ends this
 */
export function reloadOnHangup<T, O>(options: ReloadOptions<T, O>): () => void {
  const { log, interpret, apply } = options;
  const isTied = options.settings.path === undefined && endsWithTerminal();
  const reloadable = new Set([...ALWAYS_RELOADABLE, ...options.reloadable]);
  let { settings } = options;
  const reload = async (): Promise<void> => {
    try {
      const next = settings.reread();
      const interpreted = await interpret(next.given);
      const { applied, needRestart } = compareOptions(settings.options, next.options, reloadable);
      setLogLevel(next.options.get("log-level")?.[0]);
      apply(interpreted);
      // What was not applied is compared, and named, again the next time.
      settings = { ...next, options: withoutChanges(settings, next, reloadable) };
      log.info(
        `${settings.path} read again: ${applied.join(", ") || "nothing changed"}` +
          (needRestart.length > 0 ? `; after a restart only: ${needRestart.join(", ")}` : ""),
      );
    } catch (error) {
      log.warn(`the configuration stays as it was: ${(error as Error).message}`);
    }
  };
  return onSignals(["SIGHUP"], () => {
    if (isTied) {
      Deno.kill(Deno.pid, "SIGTERM");
      return;
    }
    const isReopened = reopenLog(log, "SIGHUP");
    if (settings.path !== undefined) void reload();
    else if (!isReopened) {
      log.info("SIGHUP: there is no --log-file to open again, and no --config file to read again");
    }
  });
}

/** The options in force after a reload: new where they may change, old where not. */
function withoutChanges<T>(
  before: Settings<T>,
  after: Settings<T>,
  reloadable: ReadonlySet<string>,
): GivenOptions {
  const isNew = (key: string): boolean => reloadable.has(key);
  return new Map([
    ...[...before.options].filter(([key]) => !isNew(key)),
    ...[...after.options].filter(([key]) => isNew(key)),
  ]);
}
