/**
 * A layer-4 proxy: forwards TCP connections, both ways and byte for byte, and shows the clients' data
 * to a chain of filters.
 *
 * What always holds: a side is read only as fast as the other takes (back-pressure); an end of data
 * is passed on as such (half-close); when one side breaks, the other is closed.
 */

import type { Logger } from "@logtape/logtape";
import type { FilterChain, FilterContext } from "./filter.ts";

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
  /** Errors thrown by filters. */
  filterErrors = 0;
}

/** Buffers begin small and grow with what comes, since most of 10,000 connections rest. */
const SMALLEST_BUFFER_BYTES = 4 << 10;
const LARGEST_BUFFER_BYTES = 64 << 10;
/** Pause after a failure to accept: no more descriptors, mostly. */
const ACCEPT_PAUSE_MS = 50;
const SAY_AGAIN_AFTER_MS = 10_000;

export class Proxy {
  readonly counters = new ProxyCounters();
  /** The port it listens on. */
  readonly port: number;
  readonly #options: ProxyOptions;
  readonly #listener: Deno.TcpListener;
  readonly #open = new Set<Deno.Conn>();
  #mayAccept: PromiseWithResolvers<void> | undefined;
  #closed = false;
  #saidAtMs = -Infinity;

  /** @throws Error when the address cannot be listened on */
  constructor(options: ProxyOptions) {
    this.#options = options;
    const { hostname, port } = options;
    try {
      this.#listener = Deno.listen({ hostname, port, tcpBacklog: 4096 });
    } catch (error) {
      throw new Error(
        `proxy: cannot listen on ${hostname}:${port}: ${(error as Error).message}`,
      );
    }
    this.port = this.#listener.addr.port;
  }

  /** Serves until `close`. */
  async run(): Promise<void> {
    while (!this.#closed) {
      if (this.counters.open >= this.#options.maxConnections) {
        this.#mayAccept = Promise.withResolvers();
        await this.#mayAccept.promise;
        continue;
      }
      let client: Deno.TcpConn;
      try {
        client = await this.#listener.accept();
      } catch (error) {
        if (this.#closed) return;
        this.#complain(`a connection could not be accepted: ${(error as Error).message}`);
        await new Promise((resolve) => setTimeout(resolve, ACCEPT_PAUSE_MS));
        continue;
      }
      this.counters.accepted++;
      this.counters.open++;
      this.#serve(client).finally(() => {
        this.counters.open--;
        this.#mayAccept?.resolve();
        this.#mayAccept = undefined;
      });
    }
  }

  /** Stops listening and closes all connections. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#listener.close();
    this.#mayAccept?.resolve();
    for (const connection of this.#open) closeQuietly(connection);
  }

  async #serve(client: Deno.TcpConn): Promise<void> {
    this.#open.add(client);
    const { filters } = this.#options;
    const context = contextOf(client, this.counters.accepted, this.port);
    let service: Deno.TcpConn | undefined;
    try {
      if (await filters.onNewConnection(context) !== "continue") {
        this.counters.closedByFilter++;
        return;
      }
      service = await this.#connect();
      if (service === undefined) return;
      this.#open.add(service);
      await this.#forward(client, service, context);
    } catch (error) {
      // A filter that fails can no longer vouch for the connection.
      this.counters.filterErrors++;
      this.#complain(`a filter failed, its connection is closed: ${(error as Error).message}`);
    } finally {
      for (const connection of [client, service]) {
        if (connection === undefined) continue;
        this.#open.delete(connection);
        closeQuietly(connection);
      }
      this.#tell(() => filters.onClose(context));
    }
  }

  async #connect(): Promise<Deno.TcpConn | undefined> {
    try {
      const service = await Deno.connect(this.#options.upstream);
      service.setNoDelay(true);
      return service;
    } catch (error) {
      this.counters.unreachable++;
      const { hostname, port } = this.#options.upstream;
      this.#complain(
        `the service ${hostname}:${port} cannot be reached: ${(error as Error).message}`,
      );
      return undefined;
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
    const breakOff = () => {
      closeQuietly(client);
      closeQuietly(service);
    };
    const requests = pump(client, service, (bytes) => {
      counters.bytesToService += bytes.length;
      return filters.onData(context, bytes);
    });
    const responses = pump(service, client, (bytes) => {
      counters.bytesToClients += bytes.length;
      context.repliedBytes += bytes.length;
      return "continue";
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
    if (results.includes("closed")) counters.closedByFilter++;
    else if (results.includes("broken")) counters.broken++;
  }

  #tell(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.counters.filterErrors++;
      this.#complain(`a filter failed: ${(error as Error).message}`);
    }
  }

  /** One line now and then: a broken service would fill the log. */
  #complain(text: string): void {
    const nowMs = performance.now();
    if (this.#closed || nowMs - this.#saidAtMs < SAY_AGAIN_AFTER_MS) return;
    this.#saidAtMs = nowMs;
    this.#options.log.warn(`proxy: ${text}`);
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

/** A connection as its filters see it; the proxy counts on. */
type ProxiedConnection = FilterContext & { repliedBytes: number };

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
  };
}

function closeQuietly(connection: Deno.Conn): void {
  try {
    connection.close();
  } catch (error) {
    // Closed already.
    if (!(error instanceof Deno.errors.BadResource)) throw error;
  }
}
