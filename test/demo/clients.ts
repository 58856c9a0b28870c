/**
 * The shop's customers: HTTP clients over kernel TCP, some with many requests per connection, some
 * with one; each waits for its answer before it asks again.
 *
 *     deno run -A test/demo/clients.ts --address 198.18.0.1:8080 --seconds 6
 *
 * Begins when the command "start" comes on standard input; ends with one line of JSON,
 * {@linkcode ClientSummary}, on standard output.
 */

import { numberArgument, parseArguments } from "../lab/arguments.ts";
import { pause } from "../lab/programs.ts";
import { serveCommands } from "./conversation.ts";
import { type HttpMessage, HttpReader } from "./http.ts";
import { isGood, requestOf } from "./shop.ts";

/** What the clients did. */
export interface ClientSummary {
  connections: number;
  requests: number;
  /** The first few. */
  errors: string[];
}

/** Visitors who stay, and those who come for one page each. */
const BROWSERS = 24;
const PASSERS_BY = 8;
/** What a browser asks for on one connection. */
const REQUESTS_PER_VISIT = { from: 5, to: 40 };
/** Pauses are drawn from half to one and a half times these. */
const BROWSER_PAUSE_MS = 14;
const PASSER_BY_PAUSE_MS = 45;
const READ_BUFFER_BYTES = 64 * 1024;
const MAX_ERRORS = 5;

class Clients {
  readonly summary: ClientSummary = { connections: 0, requests: 0, errors: [] };
  readonly #address: { hostname: string; port: number };
  #deadlineMs = 0;

  constructor(hostname: string, port: number) {
    this.#address = { hostname, port };
  }

  async run(seconds: number): Promise<void> {
    this.#deadlineMs = performance.now() + seconds * 1000;
    await Promise.all([
      ...Array.from({ length: BROWSERS }, () => this.#come(true)),
      ...Array.from({ length: PASSERS_BY }, () => this.#come(false)),
    ]);
  }

  /** One visitor, again and again. */
  async #come(stays: boolean): Promise<void> {
    await pause(Math.random() * 200);
    const { errors } = this.summary;
    while (performance.now() < this.#deadlineMs && errors.length < MAX_ERRORS) {
      const id = ++this.summary.connections;
      try {
        await this.#visit(id, stays);
      } catch (error) {
        errors.push(`connection ${id}: ${(error as Error).message}`);
      }
      await pause(around(stays ? BROWSER_PAUSE_MS : PASSER_BY_PAUSE_MS));
    }
  }

  async #visit(id: number, stays: boolean): Promise<void> {
    using conn = await Deno.connect(this.#address);
    conn.setNoDelay(true);
    const answers = new AnswerReader(conn);
    const { from, to } = REQUESTS_PER_VISIT;
    const count = stays ? from + Math.floor(Math.random() * (to - from)) : 1;
    for (let number = 0; number < count; number++) {
      if (number > 0) await pause(around(BROWSER_PAUSE_MS));
      if (number > 0 && performance.now() > this.#deadlineMs) return;
      const request = requestOf(id, number, !stays);
      for (let at = 0; at < request.length;) at += await conn.write(request.subarray(at));
      const answer = await answers.next();
      if (!isGood(answer)) throw new Error(`the answer was ${answer.start.join(" ")}`);
      this.summary.requests++;
    }
    if (!stays) await answers.end();
  }
}

/** Reads one answer at a time. */
class AnswerReader {
  readonly #conn: Deno.TcpConn;
  readonly #buffer = new Uint8Array(READ_BUFFER_BYTES);
  readonly #reader = new HttpReader();

  constructor(conn: Deno.TcpConn) {
    this.#conn = conn;
  }

  async next(): Promise<HttpMessage> {
    for (;;) {
      const count = await this.#conn.read(this.#buffer);
      if (count === null) throw new Error("the server closed instead of answering");
      const [answer] = this.#reader.feed(this.#buffer.subarray(0, count));
      if (answer !== undefined) return answer;
    }
  }

  /** Waits for the server to close. */
  async end(): Promise<void> {
    if (await this.#conn.read(this.#buffer) !== null) throw new Error("more than one answer came");
  }
}

function around(ms: number): number {
  return ms * (0.5 + Math.random());
}

async function main(): Promise<void> {
  const values = parseArguments(Deno.args, ["address", "seconds"]);
  const [hostname, port] = (values.get("address") ?? "").split(":");
  const clients = new Clients(hostname, Number(port));
  const { promise: started, resolve: start } = Promise.withResolvers<void>();
  serveCommands({ start: () => start() });
  console.log("ready");
  await started;
  await clients.run(numberArgument(values, "seconds", 6));
  console.log(JSON.stringify(clients.summary));
  Deno.exit(clients.summary.errors.length === 0 ? 0 : 1);
}

if (import.meta.main) await main();
