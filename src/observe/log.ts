/**
 * The programs' log: one line per event on standard error, or in the file given with `-l`.
 *
 * The hot path does not log; what happens per packet is counted and reported every 30 s.
 */

import { configureSync, getLogger, type Logger, type LogRecord } from "@logtape/logtape";

/** Where log lines go. */
export interface LogOptions {
  /** Name of the program, in front of every line. */
  program: string;
  /** Append to this file instead of standard error. */
  file?: string;
}

/**
 * Sets the log up and returns the program's logger.
 *
 * @throws Error when the file cannot be opened for appending
 */
export function openLog(options: LogOptions): Logger {
  const write = options.file === undefined ? writerTo(Deno.stderr) : writerToFile(options.file);
  const encoder = new TextEncoder();
  const { program } = options;
  return logTo(program, (record) => write(encoder.encode(formatLine(program, record))));
}

/** The logger of a worker: what is said goes to the thread that writes the log. */
export function openForwardedLog(
  program: string,
  forward: (level: "info" | "warn", text: string) => void,
): Logger {
  return logTo(
    program,
    (record) => forward(record.level === "info" ? "info" : "warn", textOf(record)),
  );
}

function logTo(program: string, sink: (record: LogRecord) => void): Logger {
  configureSync({
    reset: true,
    sinks: { lines: sink },
    loggers: [
      { category: [], sinks: ["lines"], lowestLevel: "info" },
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

/** The operator may have closed the pipe (`tcpcopy | head`): the replay goes on without a log. */
function writerTo(stream: { writeSync(bytes: Uint8Array): number }): (line: Uint8Array) => void {
  return (line) => {
    try {
      for (let at = 0; at < line.length;) at += stream.writeSync(line.subarray(at));
    } catch (error) {
      if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
    }
  };
}

function writerToFile(path: string): (line: Uint8Array) => void {
  try {
    return writerTo(Deno.openSync(path, { append: true, create: true, write: true }));
  } catch (error) {
    throw new Error(`log file ${path} cannot be opened for appending: ${(error as Error).message}`);
  }
}
