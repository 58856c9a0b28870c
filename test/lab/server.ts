/**
 * The lab's server: reads request frames, replies, and writes down what its application saw.
 *
 *     deno run -A test/lab/server.ts --port 8080 --report FILE [--delay-ms 50] [--greeting 100]
 *         [--read-pause-ms 20] [--twist NAME|JSON] [--frame-checks]
 *
 * It reads as fast as bytes come, also while replies are due, because only so can it tell a request
 * that came before its time. With a twist its answers are others than asked for: see `twists.ts`.
 * Prints "ready" when it listens; ends at SIGTERM.
 */

import { createHash } from "node:crypto";
import { AbruptCloser } from "./abrupt_close.ts";
import { numberArgument, parseArguments } from "./arguments.ts";
import {
  encodeFrame,
  frameCheck,
  FrameFlag,
  type FrameHeader,
  FrameReader,
  greetingOf,
  REPLY_MAGIC,
  REQUEST_MAGIC,
  UNASKED_MAGIC,
} from "./protocol.ts";
import {
  type ConnectionRecord,
  type Ending,
  NumberRuns,
  type ServerProgress,
  type ServerStatus,
} from "./report.ts";
import {
  isUnanswered,
  parseTwist,
  pieceEnds,
  replyDelayMs,
  replyPayloadBytes,
  type Twist,
  unaskedPauseMs,
  unaskedPayloadBytes,
} from "./twists.ts";

const READ_BUFFER_BYTES = 64 * 1024;
const REPORT_PERIOD_MS = 100;
/** How finely the progress is told. */
const STEP_MS = 10;

/** What the whole server has served; and where it is written. */
class Reporter {
  readonly status: ServerStatus = { kind: "status", open: 0, closed: 0, frames: 0, bytes: 0 };
  readonly #file: Deno.FsFile;
  readonly #steps: ServerProgress["steps"] = [];
  #lines: string[] = [];
  #lastStatus = "";

  constructor(path: string) {
    this.#file = Deno.openSync(path, { write: true, create: true, truncate: true });
  }

  add(record: ConnectionRecord): void {
    this.#lines.push(JSON.stringify(record));
  }

  /** Counts a whole frame. */
  addFrame(): void {
    const frames = ++this.status.frames;
    const nowMs = Date.now();
    const last = this.#steps.at(-1)?.[0] ?? 0;
    // A step's moment is that of its last frame.
    if (Math.floor(last / STEP_MS) === Math.floor(nowMs / STEP_MS)) this.#steps.pop();
    this.#steps.push([nowMs, frames]);
  }

  /** Writes what is new, and the progress. */
  finish(): void {
    const progress: ServerProgress = { kind: "progress", steps: this.#steps };
    this.#lines.push(JSON.stringify(progress));
    this.flush();
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
  /** How the answers differ from what was asked for. */
  twist: Twist;
  /** Whether the records shall have the frames' check values. */
  frameChecks: boolean;
}

/** Read buffers of closed connections, for the next ones. */
const spareBuffers: Uint8Array<ArrayBuffer>[] = [];

/** Closes connections before their clients do, where the twist says so. */
const closer = new AbruptCloser();

/** One connection: a reader and a replier side by side. */
class Connection {
  readonly #conn: Deno.TcpConn;
  readonly #options: ServerOptions;
  readonly #reporter: Reporter;
  /** How many connections there were before. */
  readonly #number: number;
  /** With fractions: the order of opening matters. */
  readonly #openedMs = performance.timeOrigin + performance.now();
  readonly #hash = createHash("sha256");
  readonly #ids = new Set<number>();
  readonly #numbers = new NumberRuns();
  readonly #reader: FrameReader;
  readonly #checks: string[] = [];
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
  /** Unasked messages to be sent now, those sent, and the clock for the next. */
  #unaskedDue = 0;
  #unaskedSent = 0;
  #unaskedTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(conn: Deno.TcpConn, options: ServerOptions, reporter: Reporter, number: number) {
    this.#conn = conn;
    if (options.twist.repliesPerConnection !== undefined) closer.add(conn);
    this.#number = number;
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
    this.#startUnasked();
    await Promise.all([this.#read(), this.#reply()]);
    clearTimeout(this.#unaskedTimer);
    if (this.#ending === "closed") closer.close(this.#conn);
    else {
      closer.remove(this.#conn);
      this.#conn.close();
    }
    this.record();
    this.#reporter.status.open--;
    this.#reporter.status.closed++;
  }

  async #read(): Promise<void> {
    const buffer = spareBuffers.pop() ?? new Uint8Array(READ_BUFFER_BYTES);
    const { repliesPerConnection = Infinity } = this.#options.twist;
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
        // As many requests as shall be answered are here, so nothing more is taken from the kernel:
        // what was read whole is answered, what was not stays unread when the connection is closed.
        if (this.#frames >= repliesPerConnection) {
          this.#ending = "closed";
          break;
        }
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
    // A stream joined in the middle, or continued after another connection: the replies before its
    // first request were somebody else's. A greeting is this connection's own.
    if (this.#ids.size === 0) {
      this.#repliesIssued += header.requestNumber;
      this.#repliesDone += header.requestNumber;
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
    if (this.#options.frameChecks) this.#checks.push(frameCheck(header));
    this.#reporter.addFrame();
    this.#due.push(header);
    this.#wakeReplier?.();
  }

  async #reply(): Promise<void> {
    if (this.#options.greetingBytes > 0) {
      await this.#write(greetingOf(this.#options.greetingBytes), "ends a reply");
    }
    for (;;) {
      while (this.#unaskedDue > 0) await this.#sendUnasked();
      const request = this.#due.shift();
      if (request !== undefined) {
        await this.#answer(request);
      } else {
        if (this.#inputEnded) return;
        await new Promise<void>((resolve) => this.#wakeReplier = resolve);
      }
    }
  }

  async #answer(request: FrameHeader): Promise<void> {
    const { twist } = this.#options;
    const delayMs = this.#options.delayMs + request.delayMs + replyDelayMs(twist, request);
    if (delayMs > 0) await pause(delayMs);
    if (isUnanswered(twist, request)) {
      // Its turn is over: nobody can wait for a reply that does not come.
      this.#repliesIssued++;
      this.#repliesDone++;
    } else {
      await this.#sendReply(encodeFrame({
        ...request,
        magic: REPLY_MAGIC,
        payloadBytes: replyPayloadBytes(twist, request),
        replyBytes: 0,
      }));
    }
    if (request.flags & FrameFlag.CloseAfterReply) await this.#closeWrite();
  }

  async #sendReply(frame: Uint8Array<ArrayBuffer>): Promise<void> {
    const { twist } = this.#options;
    let at = 0;
    for (const end of pieceEnds(twist, frame.length)) {
      if (at > 0) await pause(twist.pieces?.gapMs ?? 0);
      await this.#write(frame.subarray(at, end), end === frame.length ? "ends a reply" : "");
      at = end;
    }
  }

  /** Lets unasked messages become due, each a while after the one before. */
  #startUnasked(): void {
    const { unasked } = this.#options.twist;
    if (unasked === undefined) return;
    const pauseMs = unaskedPauseMs(unasked, this.#number, this.#unaskedSent + this.#unaskedDue);
    this.#unaskedTimer = setTimeout(() => {
      this.#unaskedDue++;
      this.#wakeReplier?.();
      this.#startUnasked();
    }, pauseMs);
  }

  async #sendUnasked(): Promise<void> {
    this.#unaskedDue--;
    const requestNumber = this.#unaskedSent++;
    await this.#write(
      encodeFrame({
        magic: UNASKED_MAGIC,
        connectionId: 0,
        requestNumber,
        payloadBytes: unaskedPayloadBytes(this.#options.twist.unasked ?? { bytes: 0 }),
        replyBytes: 0,
        repliesRead: 0,
        delayMs: 0,
        flags: 0,
      }),
      "",
    );
  }

  async #write(bytes: Uint8Array, role: "ends a reply" | ""): Promise<void> {
    if (this.#writeFailed) return;
    const replies = role === "" ? 0 : 1;
    try {
      for (let at = 0; at < bytes.length;) {
        const written = this.#conn.write(bytes.subarray(at));
        // A write call takes all there is room for: only the last one can end the reply.
        this.#repliesIssued += replies;
        at += await written;
        if (at < bytes.length) this.#repliesIssued -= replies;
      }
      this.#repliesDone += replies;
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
      ...(this.#options.frameChecks && { frameChecks: this.#checks }),
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
    "twist",
  ], ["frame-checks"]);
  const path = values.get("report");
  if (path === undefined) throw new Error("option --report FILE is missing");
  const options: ServerOptions = {
    delayMs: numberArgument(values, "delay-ms", 0),
    readPauseMs: numberArgument(values, "read-pause-ms", 0),
    greetingBytes: numberArgument(values, "greeting", 0),
    twist: parseTwist(values.get("twist") ?? "equal"),
    frameChecks: values.has("frame-checks"),
  };
  const reporter = new Reporter(path);
  const connections = new Set<Connection>();
  greetingOf(1); // makes the payload block before the first client comes
  const port = numberArgument(values, "port", 8080);
  const listener = Deno.listen({ hostname: "0.0.0.0", port, tcpBacklog: 1024 });
  setInterval(() => reporter.flush(), REPORT_PERIOD_MS);
  Deno.addSignalListener("SIGTERM", () => {
    for (const connection of connections) connection.record();
    reporter.finish();
    Deno.exit(0);
  });
  console.log("ready");
  let accepted = 0;
  while (true) {
    const conn = await nextConnection(listener);
    const connection = new Connection(conn, options, reporter, accepted++);
    connections.add(connection);
    connection.serve().then(() => connections.delete(connection));
  }
}

/** One that was reset before it was accepted is none: it has no other end any more, and was not served. */
async function nextConnection(listener: Deno.TcpListener): Promise<Deno.TcpConn> {
  while (true) {
    try {
      return await listener.accept();
    } catch (error) {
      if (!(error instanceof Deno.errors.NotConnected)) throw error;
    }
  }
}

if (import.meta.main) await main();
