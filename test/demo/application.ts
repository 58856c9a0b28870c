/**
 * The shop on a host: serves HTTP/1.1 over TCP, and writes down what arrived on each connection.
 *
 *     deno run -A test/demo/application.ts --port 8080 --version 2
 *
 * Prints "ready" when it listens. Commands on standard input: "status" ({@linkcode
 * ApplicationStatus}); "report" gives every connection since the last report and forgets it.
 */

import { createHash } from "node:crypto";
import { numberArgument, parseArguments } from "../lab/arguments.ts";
import { serveCommands } from "./conversation.ts";
import { closesAfter, HttpReader } from "./http.ts";
import { answerTo, CONNECTION_HEADER, requestOf } from "./shop.ts";

/** What arrived on one connection. */
export interface ConnectionReport {
  /** The numbers its requests carry; more than one would be a mix-up. */
  ids: string[];
  requests: number;
  bytes: number;
  /** SHA-256 over all bytes read, in base64. */
  hash: string;
  /** How the client ended it. */
  ending: "fin" | "rst" | "open";
  /** What was wrong with the bytes, if anything. */
  error?: string;
}

/** How far the application is, since the last report. */
export interface ApplicationStatus {
  requests: number;
  closed: number;
  open: number;
}

const READ_BUFFER_BYTES = 64 * 1024;
/** Requests answered in memory before the first client comes, so that the code is compiled. */
const WARM_UP_REQUESTS = 3_000;

class Connection {
  readonly #conn: Deno.TcpConn;
  readonly #reader = new HttpReader();
  readonly #hash = createHash("sha256");
  readonly #ids = new Set<string>();
  #bytes = 0;
  requests = 0;
  #ending: ConnectionReport["ending"] = "open";
  #error: string | undefined;

  readonly #version: number;

  constructor(conn: Deno.TcpConn, version: number) {
    this.#conn = conn;
    this.#version = version;
    conn.setNoDelay(true);
  }

  /** Serves the connection to its end. */
  async serve(onRequest: () => void): Promise<void> {
    const buffer = new Uint8Array(READ_BUFFER_BYTES);
    try {
      for (;;) {
        const count = await this.#conn.read(buffer);
        if (count === null) {
          this.#ending = "fin";
          break;
        }
        const chunk = buffer.subarray(0, count);
        this.#hash.update(chunk);
        this.#bytes += count;
        for (const request of this.#reader.feed(chunk)) {
          this.#ids.add(request.headers.get(CONNECTION_HEADER.toLowerCase()) ?? "none");
          this.requests++;
          onRequest();
          await this.#write(answerTo(request, this.#version));
          // The client's end of stream is still read: it belongs to the record.
          if (closesAfter(request)) await this.#conn.closeWrite();
        }
      }
    } catch (error) {
      if (error instanceof Deno.errors.ConnectionReset) this.#ending = "rst";
      else this.#error = (error as Error).message;
    }
    this.#conn.close();
  }

  async #write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) at += await this.#conn.write(bytes.subarray(at));
  }

  report(): ConnectionReport {
    return {
      ids: [...this.#ids],
      requests: this.requests,
      bytes: this.#bytes,
      hash: this.#hash.copy().digest("base64"),
      ending: this.#ending,
      error: this.#error,
    };
  }
}

function warmUp(version: number): void {
  const reader = new HttpReader();
  for (let i = 0; i < WARM_UP_REQUESTS; i++) {
    for (const request of reader.feed(requestOf(i, i, false))) answerTo(request, version);
  }
}

async function main(): Promise<void> {
  const values = parseArguments(Deno.args, ["port", "version"]);
  const port = numberArgument(values, "port", 8080);
  const version = numberArgument(values, "version", 1);
  let connections = new Set<Connection>();
  const status: ApplicationStatus = { requests: 0, closed: 0, open: 0 };
  const serve = async (conn: Deno.TcpConn) => {
    const connection = new Connection(conn, version);
    connections.add(connection);
    status.open++;
    await connection.serve(() => status.requests++);
    status.open--;
    status.closed++;
  };
  warmUp(version);
  const listener = Deno.listen({ hostname: "0.0.0.0", port, tcpBacklog: 1024 });
  serveCommands({
    status: () => status,
    report: () => {
      const reports = [...connections].map((connection) => connection.report());
      connections = new Set();
      status.requests = status.closed = 0;
      return reports;
    },
  });
  console.log("ready");
  for await (const conn of listener) serve(conn);
}

if (import.meta.main) await main();
