/**
 * A listener of the endpoint: HTTP, one request per connection, for callers nobody vouches for.
 *
 * What always holds: there are never more connections than allowed, since the oldest makes room for
 * a new one; each ends within a bound of time, whether its request has come or not; nothing that
 * comes in, and no failure to accept, ends the listener.
 *
 * It accepts by itself and hands its connections to node's HTTP server: the listeners of node:http
 * and `Deno.serve` do not survive a want of descriptors.
 */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { Duplex } from "node:stream";
import { acceptNext, closeQuietly } from "./connection.ts";
import type { RareWarnings } from "./rare_warnings.ts";

/** What is answered to a request; the body becomes JSON. */
export interface Answer {
  status: number;
  body: unknown;
}

/** A request that has come whole. */
export interface WholeRequest {
  /** Such as "GET /status". */
  action: string;
  contentType: string;
  body: string;
}

/** What a listener counts. */
export class EndpointCounters {
  open = 0;
  accepted = 0;
  answered = 0;
  /** Closed to make room for a new one, and because they took too long. */
  pushedOut = 0;
  timedOut = 0;
  /** Requests that were no HTTP, or too large. */
  refused = 0;
  /** Faults of this program while it answered. */
  failed = 0;
  acceptFailures = 0;
}

export interface EndpointListenerOptions {
  listener: Deno.Listener;
  /** The oldest ends when one more comes. */
  maxConnections: number;
  maxBodyBytes: number;
  /** From acceptance to the end of the answer, ms. */
  timeoutMs: number;
  warnings: RareWarnings;
  counters: EndpointCounters;
  answer(request: WholeRequest): Answer;
}

const MAX_HEADER_BYTES = 8 << 10;

export class EndpointListener {
  readonly #options: EndpointListenerOptions;
  readonly #server: Server;
  /** In the order they came in. */
  readonly #open = new Set<Duplex>();
  #isClosed = false;

  constructor(options: EndpointListenerOptions) {
    this.#options = options;
    const { counters } = options;
    this.#server = createServer(
      { maxHeaderSize: MAX_HEADER_BYTES },
      (request, response) => this.#take(request, response),
    );
    this.#server.on("clientError", (_error, socket) => {
      // Also what is cut off in the middle ends here.
      if (!socket.destroyed) counters.refused++;
      socket.destroy();
    });
  }

  /** Serves until `close`. */
  async run(): Promise<void> {
    const { listener, counters, warnings } = this.#options;
    for (;;) {
      const connection = await acceptNext(listener, () => this.#isClosed, (reason) => {
        counters.acceptFailures++;
        warnings.warn("accept", reason);
      });
      if (connection === undefined) return;
      this.#serve(connection);
    }
  }

  /** Stops listening and closes all connections. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#options.listener.close();
    for (const socket of this.#open) socket.destroy();
  }

  #serve(connection: Deno.Conn): void {
    const { counters, maxConnections, timeoutMs, warnings } = this.#options;
    counters.accepted++;
    counters.open++;
    const socket = Duplex.fromWeb(connection);
    const timer = setTimeout(() => {
      counters.timedOut++;
      socket.destroy();
    }, timeoutMs);
    socket.on("error", () => {}); // gone in the middle of something: "close" follows
    socket.on("close", () => {
      clearTimeout(timer);
      this.#open.delete(socket);
      counters.open--;
      closeQuietly(connection);
    });
    this.#open.add(socket);
    if (this.#open.size > maxConnections) {
      const [oldest] = this.#open;
      // Its "close" comes later: until then it must not be found again.
      this.#open.delete(oldest);
      counters.pushedOut++;
      warnings.warn(
        "full",
        `${maxConnections} connections are open, the most there may be: the oldest is closed`,
      );
      oldest.destroy();
    }
    this.#server.emit("connection", socket);
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { counters, maxBodyBytes, warnings } = this.#options;
    // Of a connection that breaks the socket tells; nobody else must end the process over it.
    for (const half of [request, response]) half.on("error", () => {});
    const reply = ({ status, body }: Answer) => {
      // Who keeps a connection would take the place of others.
      response.writeHead(status, { "content-type": "application/json", connection: "close" });
      response.end(JSON.stringify(body) + "\n");
      counters.answered++;
    };
    try {
      const body = await readBody(request, maxBodyBytes);
      if (body === undefined) {
        counters.refused++;
        reply({ status: 413, body: { error: `expected at most ${maxBodyBytes} bytes` } });
        return;
      }
      // Those who take this for a proxy send the whole URL.
      const url = URL.parse(request.url ?? "", "http://localhost");
      reply(this.#options.answer({
        action: `${request.method} ${url?.pathname ?? request.url}`,
        contentType: request.headers["content-type"] ?? "",
        body,
      }));
    } catch (error) {
      if (request.destroyed && !request.complete) return; // its sender is gone, there is nobody to tell
      counters.failed++;
      warnings.warn("fault", `a request failed: ${(error as Error).stack}`);
      if (!response.headersSent) reply({ status: 500, body: { error: "a fault of trafficdump" } });
    }
  }
}

/** The body as text; undefined when it is too long. Rejects when its sender breaks off. */
async function readBody(request: IncomingMessage, maxBytes: number): Promise<string | undefined> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of request) {
    length += piece.length;
    // The rest is read and thrown away: an answer to a sender that is still sending may get lost.
    if (length <= maxBytes) pieces.push(piece);
  }
  if (length > maxBytes) return undefined;
  const body = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    body.set(piece, at);
    at += piece.length;
  }
  return new TextDecoder().decode(body);
}
