/**
 * What a lab server writes down about the connections it served: JSON lines in a file.
 *
 * `status` lines come several times a second while something changes, one `connection` line comes
 * when a connection ends, and at SIGTERM for every connection still open; then a `progress` line.
 */

/**
 * How the client's side of a connection ended, as the server's application saw it; `closed`: the
 * server itself closed the connection before.
 */
export type Ending = "fin" | "rst" | "open" | "closed";

/** One connection, as the server's application saw it. */
export interface ConnectionRecord {
  kind: "connection";
  /** Connection numbers found in its frames; more than one is an error of the replay. */
  ids: number[];
  /** The client's address and port, as the server saw it. */
  peer: string;
  /** Bytes read. */
  bytes: number;
  /** SHA-256 over all bytes read, hexadecimal. */
  hash: string;
  /** Whole frames read. */
  frames: number;
  /** Their request numbers in order of arrival, as runs: "0-199" or "3-5,5,7". */
  numbers: string;
  /** Bytes after the last whole frame. */
  partialBytes: number;
  ending: Ending;
  /** Requests that arrived before the reply their sender had waited for was written. */
  early: number;
  /** The first few of them. */
  earlyNumbers: number[];
  /** Check values of the whole frames, in order of arrival, where the server was asked for them. */
  frameChecks?: string[];
  /** What was wrong with the byte stream. */
  error?: string;
  /** Milliseconds since the Unix epoch. */
  openedMs: number;
  /** Milliseconds since the Unix epoch. */
  closedMs: number;
}

/** How far a server is. */
export interface ServerStatus {
  kind: "status";
  open: number;
  closed: number;
  frames: number;
  bytes: number;
}

/** When requests were read; one line, written at SIGTERM. */
export interface ServerProgress {
  kind: "progress";
  /** Milliseconds since the Unix epoch, and the whole frames read by then; in order of time. */
  steps: [atMs: number, frames: number][];
}

/** A server's report file, read. */
export interface ServerReport {
  connections: ConnectionRecord[];
  status: ServerStatus;
  /** Absent while the server runs. */
  progress?: ServerProgress;
}

/** Whole frames that had been read at a moment. */
export function framesAt(progress: ServerProgress, atMs: number): number {
  return progress.steps.findLast(([stepMs]) => stepMs <= atMs)?.[1] ?? 0;
}

/** Collects request numbers as runs. */
export class NumberRuns {
  readonly #runs: string[] = [];
  #first = -1;
  #last = -1;

  /** Appends the next number. */
  add(value: number): void {
    if (this.#first >= 0 && value === this.#last + 1) {
      this.#last = value;
      return;
    }
    this.#close();
    this.#first = this.#last = value;
  }

  #close(): void {
    if (this.#first < 0) return;
    this.#runs.push(
      this.#first === this.#last ? `${this.#first}` : `${this.#first}-${this.#last}`,
    );
    this.#first = -1;
  }

  /** Ends the collection. */
  finish(): string {
    this.#close();
    return this.#runs.join(",");
  }
}

/** Understands the text of a report; an unfinished last line is left out. */
export function parseReport(text: string): ServerReport {
  const connections: ConnectionRecord[] = [];
  let status: ServerStatus = { kind: "status", open: 0, closed: 0, frames: 0, bytes: 0 };
  let progress: ServerProgress | undefined;
  const lines = text.split("\n");
  lines.pop();
  for (const line of lines) {
    const entry = JSON.parse(line) as ConnectionRecord | ServerStatus | ServerProgress;
    if (entry.kind === "status") status = entry;
    else if (entry.kind === "progress") progress = entry;
    else connections.push(entry);
  }
  return { connections, status, progress };
}
