/**
 * The lab's client: drives one workload against a server over kernel TCP and checks every reply.
 *
 *     deno run -A test/lab/client.ts --address 198.18.0.1:8080 --workload JSON
 *         [--first-id 0] [--timeout-s 60]
 *
 * Prints "joined" when a workload with `requestsBeforeJoin` has made them, and waits for the line
 * "go" on standard input. The line "mark" makes it print, for each open connection, the first
 * request that had not begun at that moment. Ends with one JSON line, {@linkcode ClientSummary};
 * the exit code is 1 when anything was not as expected.
 */

import { numberArgument, parseArguments } from "./arguments.ts";
import {
  encodeFrame,
  firstDifference,
  FrameFlag,
  type FrameHeader,
  FrameReader,
  greetingOf,
  REPLY_MAGIC,
  REQUEST_MAGIC,
} from "./protocol.ts";
import { type ClientConnection, connectResettable } from "./resettable.ts";
import { sizeFor, type Workload } from "./workloads.ts";

/** What the client did. */
export interface ClientSummary {
  kind: "summary";
  connections: number;
  requests: number;
  seconds: number;
  /** Milliseconds since the Unix epoch. */
  startedMs: number;
  endedMs: number;
  /** Mean time from sending a request to having its reply, in milliseconds. */
  meanLatencyMs: number;
  /** The first few errors. */
  errors: string[];
}

/** The answer to "mark": request numbers by connection number. */
export interface ClientMark {
  kind: "mark";
  next: Record<string, number>;
}

/** Where the server is. */
interface Address {
  hostname: string;
  port: number;
}

const READ_BUFFER_BYTES = 64 * 1024;
const MAX_ERRORS = 10;

/** A promise that anybody may wait for and one may fulfil. */
const { promise: goPromise, resolve: go } = Promise.withResolvers<void>();
/** Open connections and the request each will begin next. */
const nextRequest = new Map<number, number>();
let connectionsWaiting = 0;

/** Reads replies from one connection, in order, each checked. */
class ReplyReader {
  readonly #conn: ClientConnection;
  readonly #buffer = new Uint8Array(READ_BUFFER_BYTES);
  readonly #ready: FrameHeader[] = [];
  readonly #frames = new FrameReader(REPLY_MAGIC, { onFrame: (h) => this.#ready.push(h) });

  constructor(conn: ClientConnection) {
    this.#conn = conn;
  }

  /** Reads exactly the greeting. */
  async greeting(lengthBytes: number): Promise<void> {
    const expected = greetingOf(lengthBytes);
    for (let at = 0; at < lengthBytes;) {
      const count = await this.#conn.read(this.#buffer.subarray(0, lengthBytes - at));
      if (count === null) throw new Error(`the server closed after ${at} bytes of its greeting`);
      if (firstDifference(this.#buffer, 0, expected, at, count) >= 0) {
        throw new Error("wrong greeting");
      }
      at += count;
    }
  }

  /** Waits for the reply to request `number`. */
  async next(number: number): Promise<void> {
    for (;;) {
      const header = this.#ready.shift();
      if (header !== undefined) {
        if (header.requestNumber === number) return;
        throw new Error(`expected the reply to request ${number}, came ${header.requestNumber}`);
      }
      const count = await this.#conn.read(this.#buffer);
      if (count === null) throw new Error(`the server closed before its reply to ${number}`);
      this.#frames.feed(this.#buffer.subarray(0, count));
      if (this.#frames.error !== undefined) throw new Error(`reply: ${this.#frames.error}`);
    }
  }

  /** Waits until the server closes; nothing may come any more. */
  async end(): Promise<void> {
    const count = await this.#conn.read(this.#buffer);
    if (count !== null) throw new Error(`${count} bytes came after the last reply`);
  }
}

interface Totals {
  requests: number;
  turnMs: number;
  turns: number;
}

/** One connection from beginning to end. */
async function runConnection(
  address: Address,
  workload: Workload,
  id: number,
  totals: Totals,
): Promise<void> {
  nextRequest.set(id, 0);
  const conn: ClientConnection = workload.ending === "reset"
    ? await connectResettable(address.hostname, address.port)
    : await Deno.connect(address);
  try {
    conn.setNoDelay(true);
    const replies = new ReplyReader(conn);
    if (workload.greetingBytes > 0) await replies.greeting(workload.greetingBytes);
    for (let first = 0; first < workload.requests; first += workload.pipeline) {
      if (first > 0 && first === workload.requestsBeforeJoin) await waitForGo(workload);
      if (first > 0 && workload.gapMs > 0) {
        await new Promise((resolve) => setTimeout(resolve, workload.gapMs * (0.5 + Math.random())));
      }
      const startMs = performance.now();
      const count = Math.min(workload.pipeline, workload.requests - first);
      const isLast = first + count === workload.requests;
      await turn(conn, replies, workload, id, first, count, isLast);
      totals.requests += count;
      totals.turns++;
      totals.turnMs += performance.now() - startMs;
    }
    if (workload.ending === "half" || workload.ending === "server") await replies.end();
  } finally {
    nextRequest.delete(id);
    conn.close();
  }
}

/** Sends `count` requests from number `first` on and reads their replies meanwhile. */
async function turn(
  conn: ClientConnection,
  replies: ReplyReader,
  workload: Workload,
  id: number,
  first: number,
  count: number,
  isLast: boolean,
): Promise<void> {
  const repliesRead = first + (workload.greetingBytes > 0 ? 1 : 0);
  nextRequest.set(id, first + count);
  const send = async () => {
    for (let number = first; number < first + count; number++) {
      await writeAll(conn, requestFrame(workload, id, number, repliesRead));
    }
    if (isLast && workload.ending === "half") await conn.closeWrite();
  };
  const receive = async () => {
    for (let number = first; number < first + count; number++) {
      const isLastReply = isLast && number === first + count - 1;
      if (isLastReply && workload.ending === "reset") {
        await conn.read(new Uint8Array(1));
        conn.reset?.();
      } else await replies.next(number);
    }
  };
  await Promise.all([send(), receive()]);
}

function requestFrame(
  workload: Workload,
  id: number,
  number: number,
  repliesRead: number,
): Uint8Array {
  const closes = workload.ending === "server" && number === workload.requests - 1;
  return encodeFrame({
    magic: REQUEST_MAGIC,
    connectionId: id,
    requestNumber: number,
    payloadBytes: sizeFor(workload.requestBytes, id, number, 1),
    replyBytes: sizeFor(workload.replyBytes, id, number, 2),
    repliesRead,
    delayMs: 0,
    flags: closes ? FrameFlag.CloseAfterReply : 0,
  });
}

async function writeAll(conn: ClientConnection, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
}

async function waitForGo(workload: Workload): Promise<void> {
  connectionsWaiting++;
  if (connectionsWaiting === Math.min(workload.concurrency, workload.connections)) {
    console.log("joined");
  }
  await goPromise;
}

/** Obeys "go" and "mark" on standard input. */
async function listenToCommands(): Promise<void> {
  let text = "";
  for await (const chunk of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
    const lines = (text + chunk).split("\n");
    text = lines.pop() as string;
    for (const line of lines) {
      if (line === "go") go();
      if (line === "mark") {
        const mark: ClientMark = { kind: "mark", next: Object.fromEntries(nextRequest) };
        console.log(JSON.stringify(mark));
      }
    }
  }
}

/** Runs the whole workload, `concurrency` connections at a time. */
async function runWorkload(
  address: Address,
  workload: Workload,
  firstId: number,
): Promise<ClientSummary> {
  const startMs = performance.now();
  const startedMs = Date.now();
  const totals: Totals = { requests: 0, turnMs: 0, turns: 0 };
  const errors: string[] = [];
  let started = 0;
  const worker = async () => {
    while (started < workload.connections && errors.length < MAX_ERRORS) {
      const id = firstId + started++;
      try {
        await runConnection(address, workload, id, totals);
      } catch (error) {
        errors.push(`connection ${id}: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
  };
  const workers = Math.min(workload.concurrency, workload.connections);
  await Promise.all(Array.from({ length: workers }, worker));
  return {
    kind: "summary",
    connections: started,
    requests: totals.requests,
    seconds: (performance.now() - startMs) / 1000,
    startedMs,
    endedMs: Date.now(),
    meanLatencyMs: totals.turns === 0 ? 0 : totals.turnMs / totals.turns,
    errors,
  };
}

async function main(): Promise<void> {
  const values = parseArguments(Deno.args, ["address", "workload", "first-id", "timeout-s"]);
  const [hostname, port] = (values.get("address") ?? "").split(":");
  const workload = JSON.parse(values.get("workload") ?? "null") as Workload | null;
  if (workload === null || port === undefined) {
    throw new Error("options --address HOST:PORT and --workload JSON are needed");
  }
  const timeoutSeconds = numberArgument(values, "timeout-s", 60);
  setTimeout(() => {
    console.error(`client: not finished after ${timeoutSeconds} s`);
    Deno.exit(1);
  }, timeoutSeconds * 1000);
  listenToCommands();
  const firstId = numberArgument(values, "first-id", 0);
  const summary = await runWorkload({ hostname, port: Number(port) }, workload, firstId);
  console.log(JSON.stringify(summary));
  Deno.exit(summary.errors.length === 0 ? 0 : 1);
}

if (import.meta.main) await main();
