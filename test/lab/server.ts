/**
 * The lab's server: reads request frames, replies, and writes down what its application saw.
 *
 *     deno run -A test/lab/server.ts --port 8080 --report FILE [--delay-ms 50] [--greeting 100]
 *         [--read-pause-ms 20]
 *
 * It reads as fast as bytes come, also while replies are due, because only so can it tell a request
 * that came before its time. Prints "ready" when it listens; ends at SIGTERM.
 */

import { createHash } from "node:crypto";
import { numberArgument, parseArguments } from "./arguments.ts";
import {
  encodeFrame,
  FrameFlag,
  type FrameHeader,
  FrameReader,
  greetingOf,
  REPLY_MAGIC,
  REQUEST_MAGIC,
} from "./protocol.ts";
import { type ConnectionRecord, type Ending, NumberRuns, type ServerStatus } from "./report.ts";

const READ_BUFFER_BYTES = 64 * 1024;
const REPORT_PERIOD_MS = 100;

/** What the whole server has served; and where it is written. */
class Reporter {
  readonly status: ServerStatus = { kind: "status", open: 0, closed: 0, frames: 0, bytes: 0 };
  readonly #file: Deno.FsFile;
  #lines: string[] = [];
  #lastStatus = "";

  constructor(path: string) {
    this.#file = Deno.openSync(path, { write: true, create: true, truncate: true });
  }

  add(record: ConnectionRecord): void {
    this.#lines.push(JSON.stringify(record));
  }

  /** Writes what is new, the status last. */
  flush(): void {
    const status = JSON.stringify(this.status);
    if (status !== this.#lastStatus) this.#lines.push(status);
    if (this.#lines.length === 0) return;
    this.#lastStatus = status;
    const bytes = new TextEncoder().encode(this.#lines.join("\n") + "\n");
    for (let at = 0; at < bytes.length;) at += this.#file.writeSync(bytes.subarray(at));
    this.#lines = [];
  }
}

interface ServerOptions {
  delayMs: number;
  /** Pause after each read call: the kernel's receive buffer fills, the window closes. */
  readPauseMs: number;
  greetingBytes: number;
}

/** Read buffers of closed connections, for the next ones. */
const spareBuffers: Uint8Array<ArrayBuffer>[] = [];

/** One connection: a reader and a replier side by side. */
class Connection {
  readonly #conn: Deno.TcpConn;
  readonly #options: ServerOptions;
  readonly #reporter: Reporter;
  readonly #openedMs = Date.now();
  readonly #hash = createHash("sha256");
  readonly #ids = new Set<number>();
  readonly #numbers = new NumberRuns();
  readonly #reader: FrameReader;
  #frames = 0;
  readonly #early: number[] = [];
  #ending: Ending = "open";
  /** Requests not replied to yet. */
  readonly #due: FrameHeader[] = [];
  #wakeReplier: (() => void) | undefined;
  #inputEnded = false;
  #writeFailed = false;
  /** Replies whose last byte was handed to the kernel's write call; a greeting is one. */
  #repliesIssued = 0;
  /** Replies whose last write call has returned. */
  #repliesDone = 0;
  #recorded = false;

  constructor(conn: Deno.TcpConn, options: ServerOptions, reporter: Reporter) {
    this.#conn = conn;
    this.#options = options;
    this.#reporter = reporter;
    this.#reader = new FrameReader(REQUEST_MAGIC, {
      onHeader: (header) => this.#onHeader(header),
      onFrame: (header) => this.#onFrame(header),
    });
  }

  /** Serves the connection to its end. Never throws. */
  async serve(): Promise<void> {
    this.#reporter.status.open++;
    this.#conn.setNoDelay(true);
    await Promise.all([this.#read(), this.#reply()]);
    this.#conn.close();
    this.record();
    this.#reporter.status.open--;
    this.#reporter.status.closed++;
  }

  async #read(): Promise<void> {
    const buffer = spareBuffers.pop() ?? new Uint8Array(READ_BUFFER_BYTES);
    try {
      for (;;) {
        const count = await this.#conn.read(buffer);
        if (count === null) {
          // After a reset that a write call reported, reading says "end of stream".
          if (this.#ending === "open") this.#ending = "fin";
          break;
        }
        const chunk = buffer.subarray(0, count);
        this.#hash.update(chunk);
        this.#reporter.status.bytes += count;
        this.#reader.feed(chunk);
        if (this.#options.readPauseMs > 0) await pause(this.#options.readPauseMs);
      }
    } catch (error) {
      if (!(error instanceof Deno.errors.ConnectionReset)) report(error);
      this.#ending = "rst";
    }
    spareBuffers.push(buffer);
    this.#inputEnded = true;
    this.#wakeReplier?.();
  }

  #onHeader(header: FrameHeader): void {
    // A stream joined in the middle: the replies before its first request were somebody else's.
    if (this.#ids.size === 0 && header.requestNumber > 0) {
      this.#repliesIssued += header.repliesRead;
      this.#repliesDone += header.repliesRead;
    }
    this.#ids.add(header.connectionId);
    if (this.#repliesIssued < header.repliesRead) {
      this.#early.push(header.requestNumber);
    } else if (this.#repliesDone < header.repliesRead) {
      // The write call may have returned in the very turn this request was read in.
      setTimeout(() => {
        if (this.#repliesDone < header.repliesRead) this.#early.push(header.requestNumber);
      }, 0);
    }
  }

  #onFrame(header: FrameHeader): void {
    this.#frames++;
    this.#numbers.add(header.requestNumber);
    this.#reporter.status.frames++;
    this.#due.push(header);
    this.#wakeReplier?.();
  }

  async #reply(): Promise<void> {
    if (this.#options.greetingBytes > 0) await this.#send(greetingOf(this.#options.greetingBytes));
    for (;;) {
      const request = this.#due.shift();
      if (request === undefined) {
        if (this.#inputEnded) return;
        await new Promise<void>((resolve) => this.#wakeReplier = resolve);
        continue;
      }
      const delayMs = this.#options.delayMs + request.delayMs;
      if (delayMs > 0) await pause(delayMs);
      await this.#send(encodeFrame({
        ...request,
        magic: REPLY_MAGIC,
        payloadBytes: request.replyBytes,
        replyBytes: 0,
      }));
      if (request.flags & FrameFlag.CloseAfterReply) await this.#closeWrite();
    }
  }

  async #send(bytes: Uint8Array): Promise<void> {
    if (this.#writeFailed) return;
    try {
      for (let at = 0; at < bytes.length;) {
        const written = this.#conn.write(bytes.subarray(at));
        // A write call takes all there is room for: only the last one can end the reply.
        this.#repliesIssued++;
        at += await written;
        if (at < bytes.length) this.#repliesIssued--;
      }
      this.#repliesDone++;
    } catch (error) {
      this.#onWriteError(error);
    }
  }

  async #closeWrite(): Promise<void> {
    try {
      await this.#conn.closeWrite();
    } catch (error) {
      this.#onWriteError(error);
    }
  }

  #onWriteError(error: unknown): void {
    this.#writeFailed = true;
    if (error instanceof Deno.errors.ConnectionReset) {
      if (this.#ending === "open") this.#ending = "rst";
    } else if (
      !(error instanceof Deno.errors.BrokenPipe || error instanceof Deno.errors.NotConnected)
    ) {
      report(error);
    }
  }

  /** Writes the connection down, once. */
  record(): void {
    if (this.#recorded) return;
    this.#recorded = true;
    const peer = this.#conn.remoteAddr;
    this.#reporter.add({
      kind: "connection",
      ids: [...this.#ids],
      peer: `${peer.hostname}:${peer.port}`,
      bytes: this.#reader.totalBytes,
      hash: this.#hash.digest("hex"),
      frames: this.#frames,
      numbers: this.#numbers.finish(),
      partialBytes: this.#reader.partialBytes,
      ending: this.#ending,
      early: this.#early.length,
      earlyNumbers: this.#early.slice(0, 5),
      error: this.#reader.error,
      openedMs: this.#openedMs,
      closedMs: Date.now(),
    });
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function report(error: unknown): void {
  console.error(`server: ${error instanceof Error ? error.message : String(error)}`);
}

async function main(): Promise<void> {
  const values = parseArguments(Deno.args, [
    "port",
    "report",
    "delay-ms",
    "read-pause-ms",
    "greeting",
  ]);
  const path = values.get("report");
  if (path === undefined) throw new Error("option --report FILE is missing");
  const options: ServerOptions = {
    delayMs: numberArgument(values, "delay-ms", 0),
    readPauseMs: numberArgument(values, "read-pause-ms", 0),
    greetingBytes: numberArgument(values, "greeting", 0),
  };
  const reporter = new Reporter(path);
  const connections = new Set<Connection>();
  greetingOf(1); // makes the payload block before the first client comes
  const port = numberArgument(values, "port", 8080);
  const listener = Deno.listen({ hostname: "0.0.0.0", port, tcpBacklog: 1024 });
  setInterval(() => reporter.flush(), REPORT_PERIOD_MS);
  Deno.addSignalListener("SIGTERM", () => {
    for (const connection of connections) connection.record();
    reporter.flush();
    Deno.exit(0);
  });
  console.log("ready");
  for await (const conn of listener) {
    const connection = new Connection(conn, options, reporter);
    connections.add(connection);
    connection.serve().then(() => connections.delete(connection));
  }
}

if (import.meta.main) await main();
