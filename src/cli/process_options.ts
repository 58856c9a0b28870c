/** The options about the process itself and its log, the same for every program that stays. */

import type { Logger } from "@logtape/logtape";
import { object } from "@optique/core/constructs";
import { message } from "@optique/core/message";
import { optional, withDefault } from "@optique/core/modifiers";
import { option } from "@optique/core/primitives";
import { choice, string } from "@optique/core/valueparser";
import { onSignals } from "../loop/signals.ts";
import { LEVEL_NAMES, type LevelName, openLog, reopenLog } from "../observe/log.ts";
import { isDaemon, launchDaemon } from "./daemon.ts";
import { describeError } from "./fatal.ts";
import { PidFile } from "./pid_file.ts";

/** A program merges them into its own. */
export const processOptions = object("Process and log", {
  daemon: option("-d", "--daemon", {
    description:
      message`Run in the background. The command returns when the program is ready, with exit code 0, or has failed.`,
  }),
  pidFile: optional(
    option("-P", "--pid-file", string({ metavar: "FILE" }), {
      description:
        message`Write the process number into this file, and remove it at the end; refused while the process in it lives.`,
    }),
  ),
  log: optional(
    option("-l", "--log-file", string({ metavar: "FILE" }), {
      description:
        message`Append the log to this file instead of standard error. SIGUSR1 and SIGHUP open it again, after a rotation.`,
    }),
  ),
  logLevel: withDefault(
    option("--log-level", choice([...LEVEL_NAMES], { metavar: "LEVEL" }), {
      description: message`The least important lines that are logged.`,
    }),
    "info",
  ),
});

/** What the options yield. */
export interface ProcessOptions {
  readonly daemon: boolean;
  readonly pidFile: string | undefined;
  readonly log: string | undefined;
  readonly logLevel: LevelName;
}

/**
 * Runs a program the way these options ask for: in the background or not, with its process number in
 * a file or not.
 *
 * @param start the program itself, with its log; returns the exit code
 * @returns the exit code
 */
export async function runProcess(
  program: string,
  options: ProcessOptions,
  start: (log: Logger) => Promise<number>,
): Promise<number> {
  if (options.daemon && !isDaemon()) {
    if (options.log === undefined) {
      console.error(`${program}: a daemon without --log-file (-l) leaves no log`);
    }
    return await launchDaemon();
  }
  using _pidFile = options.pidFile === undefined ? undefined : new PidFile(options.pidFile);
  const log = openLog({ program, file: options.log, level: options.logLevel });
  // Until the very end: its default would end the program.
  onSignals(["SIGUSR1"], (signal) => {
    if (!reopenLog(log, signal)) log.info(`${signal}: there is no --log-file (-l) to open again`);
  });
  try {
    return await start(log);
  } catch (error) {
    // Where the command was given nobody reads any more, once a daemon was ready.
    if (options.daemon && options.log !== undefined) log.error(describeError(error));
    throw error;
  }
}
