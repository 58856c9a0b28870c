/**
 * The programs' log: one line per event on standard error, or in the file given with `-l`.
 *
 * The hot path does not log; what happens per packet is counted and reported every 30 s.
 */

import {
  configureSync,
  getLogger,
  type Logger,
  type LogLevel,
  type LogRecord,
} from "@logtape/logtape";
import { giveToNobody, openForAppending } from "../../ffi/safe_path.ts";

/** Where log lines go. */
export interface LogOptions {
  /** Name of the program, in front of every line. */
  program: string;
  /** Append to this file instead of standard error. */
  file?: string;
  /** The least important lines that are logged. Default "info". */
  level?: LevelName;
}

/** The levels, from the least important one. */
export const LEVEL_NAMES = ["debug", "info", "warning", "error"] as const;
export type LevelName = typeof LEVEL_NAMES[number];

/** What a worker's lines are passed on as: names of the logger's methods. */
export type ForwardedLevel = "debug" | "info" | "warn" | "error";

let minimum = 1;

/** The log's file and its path; undefined where the log goes to standard error. */
let openedFile: { readonly path: string; file: Deno.FsFile } | undefined;

/** Changes the level of all logs; anything that is no level's name is "info". */
export function setLogLevel(name: string | undefined): void {
  const index = (LEVEL_NAMES as readonly string[]).indexOf(name ?? "info");
  minimum = index < 0 ? 1 : index;
}

function isWanted(level: LogLevel): boolean {
  const index = (LEVEL_NAMES as readonly string[]).indexOf(level);
  return index < 0 ? level === "fatal" : index >= minimum;
}

/**
 * Sets the log up and returns the program's logger.
 *
 * @throws Error when the file cannot be opened for appending
 */
export function openLog(options: LogOptions): Logger {
  openedFile = options.file === undefined
    ? undefined
    : { path: options.file, file: openFile(options.file) };
  const write = writerTo(() => openedFile?.file ?? Deno.stderr);
  const encoder = new TextEncoder();
  const { program } = options;
  setLogLevel(options.level);
  return logTo(program, (record) => {
    if (isWanted(record.level)) write(encoder.encode(formatLine(program, record)));
  });
}

/**
 * Opens the log's file again by its path, after it was renamed to make room for a new one. If that
 * cannot be, the lines go on to the old file, and the first of them says why.
 *
 * @param why what asked for it, for example a signal's name
 * @returns false when the log goes to no file
 */
export function reopenLog(log: Logger, why: string): boolean {
  if (openedFile === undefined) return false;
  const { path, file } = openedFile;
  try {
    openedFile.file = openFile(path);
  } catch (error) {
    log.warn(
      `${why}: ${(error as Error).message}; this file is written on. ` +
        `User ${Deno.uid()}, as whom the program runs, must be able to write the new file`,
    );
    return true;
  }
  file.close();
  log.info(`${why}: log file ${path} opened again`);
  return true;
}

/**
 * The logger of a worker: what is said goes to the thread that writes the log, and decides by its
 * level what is written.
 */
export function openForwardedLog(
  program: string,
  forward: (level: ForwardedLevel, text: string) => void,
): Logger {
  return logTo(program, (record) => {
    const { level } = record;
    const isKnown = level === "debug" || level === "info" || level === "error";
    forward(isKnown ? level : "warn", textOf(record));
  });
}

function logTo(program: string, sink: (record: LogRecord) => void): Logger {
  configureSync({
    reset: true,
    sinks: { lines: sink },
    loggers: [
      { category: [], sinks: ["lines"], lowestLevel: "debug" },
      { category: ["logtape", "meta"], sinks: ["lines"], lowestLevel: "error" },
    ],
  });
  return getLogger([program]);
}

function formatLine(program: string, record: LogRecord): string {
  const time = new Date(record.timestamp).toISOString().replace("T", " ").replace("Z", "");
  const level = record.level === "info" ? "" : `${record.level}: `;
  return `${time} ${program}: ${level}${textOf(record)}\n`;
}

/** Lines are passed whole: braces in a file's name are no place-holders. */
function textOf(record: LogRecord): string {
  return typeof record.rawMessage === "string"
    ? record.rawMessage
    : record.message.map(String).join("");
}

/**
 * The operator may have closed the pipe (`tcpcopy | head`): the replay goes on without a log.
 *
 * @param stream where the next line goes
 */
function writerTo(
  stream: () => { writeSync(bytes: Uint8Array): number },
): (line: Uint8Array) => void {
  return (line) => {
    try {
      for (let at = 0; at < line.length;) at += stream().writeSync(line.subarray(at));
    } catch (error) {
      if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
    }
  };
}

/** A file made as root is given to the user nobody, whom the program becomes. */
function openFile(path: string): Deno.FsFile {
  try {
    return openForAppending(path, 0o644, giveToNobody);
  } catch (error) {
    throw new Error(`log file ${path} cannot be opened for appending: ${(error as Error).message}`);
  }
}
