/**
 * tcpcopy's end of the tunnel to one intercept: announces connections and receives the records of
 * what the target answered. Touches sockets, native memory and the event loop.
 *
 * Several TCP connections run in parallel; a replayed connection always uses the same one, chosen by
 * a hash of its client address and port. A connection that is lost is opened again, later and later
 * up to 3 s, and everything the owner still has is announced anew.
 */

import { Arena } from "../../ffi/arena.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import {
  type FrameMode,
  RECORD_BYTES,
  type RecordBytes,
  type RecordHandler,
  RequestType,
  ResponseDecoder,
} from "./codec.ts";
import { type LinkOwner, TunnelLink } from "./link.ts";
import { TunnelClientStats } from "./stats.ts";

/**
 * Announces one connection; addresses are int32.
 *
 * @returns false when it could not be put into the output buffer now; try again later
 */
export interface Announce {
  (clientAddress: number, clientPort: number, targetAddress: number, targetPort: number): boolean;
}

/** How a {@link TunnelClient} works. */
export interface TunnelClientOptions {
  loop: EventLoop;
  /** IPv4 address of intercept, int32. */
  host: number;
  port: number;
  /** Parallel TCP connections. Default 2, as the original has. */
  connections?: number;
  /** How records are framed; "combined", the default, is what the original sends. */
  mode?: FrameMode;
  /** 64 (the default), or 192 for records with payload. */
  recordBytes?: RecordBytes;
  /**
   * What may wait for sending on one connection. Default 2 MiB, which is 149,000 announcements: as
   * many connections can be announced anew in one go.
   */
  outputBytes?: number;
  /** 0 <= random() < 1; spreads reconnections. Default Math.random. */
  random?: () => number;
  /** Takes each record; see {@link RecordHandler}. */
  onRecord: RecordHandler;
  /** A connection is up; `routes` is called next. */
  onUp?: (connectionIndex: number) => void;
  /** A connection that was up is lost; the reason is a clause without a full stop. */
  onDown?: (connectionIndex: number, reason: string) => void;
  /**
   * Called at most once: the first attempt failed and no connection has ever been up. Attempts go on
   * unless the client is closed.
   */
  onStartFailure?: (error: Error) => void;
  /**
   * Called when a connection comes up: calls `announce` for every connection alive whose
   * `connectionIndexOf` is this one. Where `announce` returns false, the owner tries again later.
   */
  routes?: (connectionIndex: number, announce: Announce) => void;
}

const INPUT_BYTES = 65536;
const MAX_CONNECTIONS = 64;

/**
 * The tunnel to one intercept. Announcements leave at the end of the loop's turn; call `announce`
 * and `forget` from within the loop (a handler or timer), or `loop.wake()` afterwards. What is called
 * at the end of a turn is called in the order of registration, so a client connected before the
 * injector is made has its announcements sent ahead of the packets they are for.
 *
 * @example
 * ```ts ignore
 * const tunnel = new TunnelClient({
 *   loop,
 *   host: parseIpv4("198.18.1.2")!,
 *   port: DEFAULT_TUNNEL_PORT,
 *   onRecord: (bytes, view, offset, length) => {
 *     if (packet.parseIp(bytes, view, offset, length) === ParseResult.Tcp) sessions.onResponse(packet);
 *   },
 * });
 * tunnel.connect();
 * tunnel.announce(clientAddress, clientPort, targetAddress, targetPort);
 * ```
 */
export class TunnelClient {
  readonly stats: TunnelClientStats;
  readonly #options: TunnelClientOptions;
  readonly #memory: Arena;
  readonly #links: TunnelLink[];
  /** Links to flush at the end of the turn. */
  readonly #dirty: TunnelLink[];
  #startFailed: boolean;
  #isClosed: boolean;
  #cancelTurnEnd: () => void;

  /** @throws RangeError for options that make no sense, SystemError when memory is short */
  constructor(options: TunnelClientOptions) {
    const connections = options.connections ?? 2;
    if (!Number.isInteger(connections) || connections < 1 || connections > MAX_CONNECTIONS) {
      throw new RangeError(
        `A tunnel has 1 to ${MAX_CONNECTIONS} parallel connections, not ${connections}.`,
      );
    }
    const outputBytes = options.outputBytes ?? 2 << 20;
    this.stats = new TunnelClientStats();
    this.#options = options;
    this.#memory = new Arena(INPUT_BYTES + connections * outputBytes);
    const owner = this.#linkOwner(this.#memory.allocate(INPUT_BYTES));
    this.#links = [];
    for (let index = 0; index < connections; index++) {
      const output = this.#memory.allocate(outputBytes, 1);
      this.#links.push(new TunnelLink(index, owner, output, outputBytes));
    }
    this.#dirty = [];
    this.#startFailed = false;
    this.#isClosed = false;
    this.#cancelTurnEnd = () => {};
  }

  /** How many of the parallel connections are up. */
  get upCount(): number {
    let count = 0;
    for (const link of this.#links) if (link.isUp) count++;
    return count;
  }

  /** Whether one of the parallel connections is up. */
  isUp(connectionIndex: number): boolean {
    return this.#links[connectionIndex].isUp;
  }

  /** Begins to connect. */
  connect(): void {
    this.#cancelTurnEnd = this.#options.loop.onTurnEnd(() => this.#flushAll());
    for (const link of this.#links) link.open();
  }

  /** Which of the parallel connections serves a replayed connection, by its client side. */
  connectionIndexOf(clientAddress: number, clientPort: number): number {
    let hash = Math.imul(clientAddress, 0x85ebca6b) ^ Math.imul(clientPort, 0x9e3779b1);
    hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
    return ((hash ^ (hash >>> 13)) >>> 0) % this.#links.length;
  }

  /**
   * Asks for the responses of a connection. Addresses are int32.
   *
   * @returns false when this cannot be sent now (not connected, or the output buffer is full): try
   * again later, or leave it to `routes` if the tunnel is down
   */
  announce(
    clientAddress: number,
    clientPort: number,
    targetAddress: number,
    targetPort: number,
  ): boolean {
    const link = this.#links[this.connectionIndexOf(clientAddress, clientPort)];
    return link.put(RequestType.Announce, clientAddress, clientPort, targetAddress, targetPort);
  }

  /**
   * Asks for them no longer.
   *
   * @returns false when this could not be sent; intercept forgets by itself when the tunnel breaks
   */
  forget(
    clientAddress: number,
    clientPort: number,
    targetAddress: number,
    targetPort: number,
  ): boolean {
    const link = this.#links[this.connectionIndexOf(clientAddress, clientPort)];
    return link.put(RequestType.Forget, clientAddress, clientPort, targetAddress, targetPort);
  }

  /** Sends what waits, as far as the sockets take it at once, and closes everything. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#flushAll();
    this.#cancelTurnEnd();
    for (const link of this.#links) link.close();
    // Not at once: the call may come from a callback in the midst of reading this memory.
    queueMicrotask(() => this.#memory.free());
  }

  #linkOwner(input: number): LinkOwner {
    const options = this.#options;
    const mode = options.mode ?? "combined";
    const recordBytes = options.recordBytes ?? RECORD_BYTES;
    return {
      loop: options.loop,
      host: options.host,
      port: options.port,
      random: options.random ?? Math.random,
      stats: this.stats,
      memory: this.#memory,
      input,
      inputBytes: INPUT_BYTES,
      newDecoder: (link) => this.#newDecoder(link, mode, recordBytes),
      onDirty: (link) => this.#dirty.push(link),
      onUp: (link) => this.#onUp(link),
      onDown: (link, reason) => {
        if (!this.#isClosed) options.onDown?.(link.index, reason);
      },
      onFailure: (error) => this.#onFailure(error),
    };
  }

  #newDecoder(link: TunnelLink, mode: FrameMode, recordBytes: RecordBytes): ResponseDecoder {
    const { stats } = this;
    const { onRecord } = this.#options;
    return new ResponseDecoder(mode, recordBytes, (bytes, view, offset, length) => {
      // Records behind the one whose handler closed the client are of no interest any more.
      if (!link.isUp) return;
      stats.records++;
      onRecord(bytes, view, offset, length);
    });
  }

  #onUp(link: TunnelLink): void {
    this.#options.onUp?.(link.index);
    if (!link.isUp) return;
    this.#options.routes?.(
      link.index,
      (clientAddress, clientPort, targetAddress, targetPort) =>
        link.put(RequestType.Announce, clientAddress, clientPort, targetAddress, targetPort),
    );
  }

  #onFailure(error: Error): void {
    if (this.#startFailed || this.stats.established > 0) return;
    this.#startFailed = true;
    this.#options.onStartFailure?.(error);
  }

  #flushAll(): void {
    // A flush may lose its link, and the owner may announce over others when told so.
    for (let i = 0; i < this.#dirty.length; i++) this.#dirty[i].flush();
    this.#dirty.length = 0;
  }
}
