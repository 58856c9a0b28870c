/**
 * A layer-4 proxy: forwards TCP connections, both ways and byte for byte, and shows the clients' data
 * to a chain of filters.
 *
 * What always holds: a side is read only as fast as the other takes (back-pressure); an end of data
 * is passed on as such (half-close); when one side breaks, the other is closed. Nothing stays for ever:
 * connections on which nothing moves are closed, and there are never more of them than allowed.
 */

import type { Logger } from "@logtape/logtape";
import { acceptNext, closeQuietly } from "./connection.ts";
import type { FilterChain, FilterContext } from "./filter.ts";
import { RareWarnings } from "./rare_warnings.ts";

/** Where the proxy listens and what it forwards to. */
export interface ProxyOptions {
  hostname: string;
  /** 0 for any. */
  port: number;
  upstream: { hostname: string; port: number };
  filters: FilterChain;
  log: Logger;
  /** More connections wait in the kernel until one ends. */
  maxConnections: number;
  /** A connection on which nothing moves for so long is closed, ms. Default an hour. */
  idleTimeoutMs?: number;
  /** The same when the service has ended and only the client has not, ms. Default a minute. */
  lingerTimeoutMs?: number;
}

/** What a proxy counts. */
export class ProxyCounters {
  accepted = 0;
  open = 0;
  bytesToService = 0;
  bytesToClients = 0;
  /** Connections the service could not be reached for, those that broke, and those filters closed. */
  unreachable = 0;
  broken = 0;
  closedByFilter = 0;
  /** Connections closed because nothing moved on them. */
  idle = 0;
  /** How often there was no room for one more, and how often none could be accepted. */
  full = 0;
  acceptFailures = 0;
  /** Errors thrown by filters. */
  filterErrors = 0;
}

/** Buffers begin small and grow with what comes, since most of 10,000 connections rest. */
const SMALLEST_BUFFER_BYTES = 4 << 10;
const LARGEST_BUFFER_BYTES = 64 << 10;
const IDLE_TIMEOUT_MS = 3_600_000;
const LINGER_TIMEOUT_MS = 60_000;
/** A service that answers no SYN is given up. */
const CONNECT_TIMEOUT_MS = 10_000;
/** How often idle connections are looked for, as a share of the shortest time-out. */
const LOOKS_PER_TIMEOUT = 4;

export class Proxy {
  readonly counters = new ProxyCounters();
  /** The port it listens on. */
  readonly port: number;
  readonly #options: ProxyOptions;
  readonly #listener: Deno.TcpListener;
  readonly #open = new Set<ProxiedConnection>();
  readonly #warnings: RareWarnings;
  readonly #idleTimer: ReturnType<typeof setInterval>;
  #mayAccept: PromiseWithResolvers<void> | undefined;
  #closed = false;

  /** @throws Error when the address cannot be listened on */
  constructor(options: ProxyOptions) {
    this.#options = options;
    this.#warnings = new RareWarnings(options.log, "proxy");
    const { hostname, port } = options;
    try {
      this.#listener = Deno.listen({ hostname, port, tcpBacklog: 4096 });
    } catch (error) {
      throw new Error(
        `proxy: cannot listen on ${hostname}:${port}: ${(error as Error).message}`,
      );
    }
    this.port = this.#listener.addr.port;
    const { idleTimeoutMs = IDLE_TIMEOUT_MS, lingerTimeoutMs = LINGER_TIMEOUT_MS } = options;
    this.#idleTimer = setInterval(
      () => this.#closeIdle(idleTimeoutMs, lingerTimeoutMs),
      Math.min(idleTimeoutMs, lingerTimeoutMs) / LOOKS_PER_TIMEOUT,
    );
  }

  /** Serves until `close`. */
  async run(): Promise<void> {
    const { maxConnections } = this.#options;
    while (!this.#closed) {
      const client = await acceptNext(this.#listener, () => this.#closed, (reason) => {
        this.counters.acceptFailures++;
        this.#warnings.warn("accept", reason);
      });
      if (client === undefined) return;
      this.counters.accepted++;
      this.counters.open++;
      this.#serve(client).finally(() => {
        this.counters.open--;
        this.#mayAccept?.resolve();
        this.#mayAccept = undefined;
      });
      if (this.counters.open < maxConnections) continue;
      this.counters.full++;
      this.#warnings.warn(
        "full",
        `${maxConnections} connections are open, the most there may be: more wait until one ends`,
      );
      this.#mayAccept = Promise.withResolvers();
      await this.#mayAccept.promise;
    }
  }

  /** Stops listening and closes all connections. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#idleTimer);
    this.#listener.close();
    this.#mayAccept?.resolve();
    for (const connection of this.#open) closeBoth(connection);
  }

  async #serve(client: Deno.TcpConn): Promise<void> {
    const { filters } = this.#options;
    const context = contextOf(client, this.counters.accepted, this.port);
    this.#open.add(context);
    try {
      if (await filters.onNewConnection(context) !== "continue") {
        this.counters.closedByFilter++;
        return;
      }
      const service = await this.#connect();
      if (service === undefined) return;
      context.sides.push(service);
      await this.#forward(client, service, context);
    } catch (error) {
      // A filter that fails can no longer vouch for the connection.
      this.counters.filterErrors++;
      this.#warnings.warn(
        "filter",
        `a filter failed, its connection is closed: ${(error as Error).message}`,
      );
    } finally {
      this.#open.delete(context);
      closeBoth(context);
      this.#tell(() => filters.onClose(context));
    }
  }

  async #connect(): Promise<Deno.TcpConn | undefined> {
    const controller = new AbortController();
    const timer = setTimeout(() => controller.abort(), CONNECT_TIMEOUT_MS);
    try {
      const { signal } = controller;
      const service = await Deno.connect({ ...this.#options.upstream, signal });
      service.setNoDelay(true);
      return service;
    } catch (error) {
      this.counters.unreachable++;
      const { hostname, port } = this.#options.upstream;
      this.#warnings.warn(
        "service",
        `the service ${hostname}:${port} cannot be reached: ${
          controller.signal.aborted ? "no answer in time" : (error as Error).message
        }`,
      );
      return undefined;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Forwards both ways until both have ended, or one has broken. */
  async #forward(
    client: Deno.TcpConn,
    service: Deno.TcpConn,
    context: ProxiedConnection,
  ): Promise<void> {
    client.setNoDelay(true);
    const { filters } = this.#options;
    const { counters } = this;
    const breakOff = () => closeBoth(context);
    const requests = pump(client, service, (bytes) => {
      context.movedAtMs = performance.now();
      counters.bytesToService += bytes.length;
      return filters.onData(context, bytes);
    });
    const responses = pump(service, client, (bytes) => {
      context.movedAtMs = performance.now();
      counters.bytesToClients += bytes.length;
      context.repliedBytes += bytes.length;
      return "continue";
    }).then((end) => {
      context.serviceHasEnded = true;
      return end;
    });
    const ends = await Promise.allSettled([requests, responses].map((end) =>
      end.then((result) => {
        if (result !== "ended") breakOff();
        return result;
      }, (error) => {
        breakOff();
        throw error;
      })
    ));
    for (const end of ends) {
      if (end.status === "rejected") throw end.reason;
    }
    const results = ends.map((end) => end.status === "fulfilled" ? end.value : "broken");
    if (context.isIdle) counters.idle++;
    else if (results.includes("closed")) counters.closedByFilter++;
    else if (results.includes("broken")) counters.broken++;
  }

  #tell(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.counters.filterErrors++;
      this.#warnings.warn("filter", `a filter failed: ${(error as Error).message}`);
    }
  }

  /** A client that is gone without a word, or keeps what its service has long left, ends here. */
  #closeIdle(idleTimeoutMs: number, lingerTimeoutMs: number): void {
    const nowMs = performance.now();
    for (const connection of this.#open) {
      const timeoutMs = connection.serviceHasEnded
        ? Math.min(idleTimeoutMs, lingerTimeoutMs)
        : idleTimeoutMs;
      if (nowMs - connection.movedAtMs < timeoutMs) continue;
      connection.isIdle = true;
      closeBoth(connection);
    }
  }
}

/** How one direction has ended. */
type End = "ended" | "broken" | "closed";

/**
 * Moves data from one connection to the other until it ends, and passes the end on.
 *
 * @throws what `look` throws
 */
async function pump(
  from: Deno.TcpConn,
  to: Deno.TcpConn,
  look: (bytes: Uint8Array) => string | Promise<string>,
): Promise<End> {
  let buffer = new Uint8Array(SMALLEST_BUFFER_BYTES);
  for (;;) {
    const count = await attempt(from.read(buffer));
    if (count === undefined) return "broken";
    if (count === null) return await attempt(to.closeWrite()) === undefined ? "broken" : "ended";
    const bytes = buffer.subarray(0, count);
    const answer = look(bytes);
    const status = typeof answer === "string" ? answer : await answer;
    if (status === "close") return "closed";
    if (status === "continue") {
      for (let at = 0; at < count;) {
        const written = await attempt(to.write(bytes.subarray(at)));
        if (written === undefined || written === null) return "broken";
        at += written;
      }
    }
    if (count === buffer.length && buffer.length < LARGEST_BUFFER_BYTES) {
      buffer = new Uint8Array(buffer.length * 4);
    }
  }
}

/** The result of an operation on a connection, or undefined when the connection has broken. */
async function attempt<T>(operation: Promise<T>): Promise<T | null | undefined> {
  try {
    return (await operation) ?? null;
  } catch {
    // Reset, closed, timed out: to a proxy they are all the same, and counted.
    return undefined;
  }
}

/** A connection as its filters see it, and what the proxy knows of it. */
type ProxiedConnection = FilterContext & {
  repliedBytes: number;
  /** The client's connection, and the service's once it is there. */
  readonly sides: Deno.TcpConn[];
  /** When bytes came last, from either side. */
  movedAtMs: number;
  serviceHasEnded: boolean;
  /** Set when it is closed because nothing moves. */
  isIdle: boolean;
};

function contextOf(
  client: Deno.TcpConn,
  connectionId: number,
  port: number,
): ProxiedConnection {
  const { hostname, port: clientPort } = client.remoteAddr;
  return {
    connectionId,
    clientAddress: hostname,
    clientPort,
    port,
    repliedBytes: 0,
    values: new Map(),
    async reply(bytes) {
      for (let at = 0; at < bytes.length;) at += await client.write(bytes.subarray(at));
    },
    sides: [client],
    movedAtMs: performance.now(),
    serviceHasEnded: false,
    isIdle: false,
  };
}

function closeBoth({ sides }: ProxiedConnection): void {
  for (const side of sides) closeQuietly(side);
}
