/**
 * The tunnels to all intercepts, as one.
 *
 * Every route is announced to every intercept: each forwards what it captures, whichever of them the
 * target's responses pass. A route that could not be announced is announced later.
 */

import type { Logger } from "@logtape/logtape";
import { formatEndpoint } from "../cli/addresses.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { RouteAnnouncer } from "../session/session_table.ts";
import { type Announce, TunnelClient } from "../tunnel/client.ts";
import type { TunnelForm } from "../tunnel/form.ts";
import type { RecordHandler } from "../tunnel/codec.ts";

/** One intercept; the address as int32. */
export interface InterceptAddress {
  address: number;
  port: number;
}

/** What the tunnels are made from. */
export interface TunnelsOptions {
  intercepts: readonly InterceptAddress[];
  /** Parallel connections to each. */
  connections: number;
  form: TunnelForm;
  /** Whether the start succeeds while no intercept is there. */
  startsWithout: boolean;
}

/** What the tunnels need from the replay. */
export interface TunnelOwner {
  readonly onRecord: RecordHandler;
  /** Calls back for every route that is in use. */
  forEachRoute(visit: Announce): void;
  /** A connection to some intercept is up (true), or the last one of all is down. */
  onWayBack(works: boolean): void;
}

const ANNOUNCE_AGAIN_MS = 200;

export class Tunnels implements RouteAnnouncer {
  readonly #clients: TunnelClient[];
  readonly #intercepts: readonly InterceptAddress[];
  readonly #loop: EventLoop;
  readonly #owner: TunnelOwner;
  readonly #log: Logger;
  /** Whether intercept is told of every connection. */
  readonly #announces: boolean;
  #announceAgain = false;
  #started: PromiseWithResolvers<void> = Promise.withResolvers();

  constructor(
    loop: EventLoop,
    options: TunnelsOptions,
    owner: TunnelOwner,
    log: Logger,
  ) {
    this.#loop = loop;
    const { intercepts, connections, form } = options;
    this.#intercepts = intercepts;
    this.#announces = !form.isSingle;
    this.#owner = owner;
    this.#log = log;
    this.#clients = intercepts.map(({ address, port }, index) =>
      new TunnelClient({
        loop,
        host: address,
        port,
        connections,
        mode: form.mode,
        recordBytes: form.recordBytes,
        onRecord: owner.onRecord,
        onUp: () => this.#onUp(index),
        onDown: (_, reason) => this.#onDown(index, reason),
        onStartFailure: (error) => {
          if (options.startsWithout) {
            this.#log.warn(`${error.message}; sessions wait, trying again`);
            this.#started.resolve();
            return;
          }
          this.#started.reject(
            new Error(`${error.message}; start intercept there first, or correct -s`, {
              cause: error,
            }),
          );
        },
        routes: (connection, announce) => this.#announceAll(index, connection, announce),
      })
    );
  }

  /** Connects; resolves when every intercept is reached, rejects when one is not. */
  connect(): Promise<void> {
    for (const client of this.#clients) client.connect();
    return this.#started.promise;
  }

  announce(address: number, port: number, targetAddress: number, targetPort: number): void {
    if (!this.#announces) return;
    for (const client of this.#clients) {
      const sent = client.announce(address, port, targetAddress, targetPort);
      // While a connection is down nothing need be done: all routes are announced when it is back.
      if (!sent && client.upCount > 0) this.#retryAnnouncements();
    }
  }

  forget(address: number, port: number, targetAddress: number, targetPort: number): void {
    if (!this.#announces) return;
    for (const client of this.#clients) client.forget(address, port, targetAddress, targetPort);
  }

  close(): void {
    for (const client of this.#clients) client.close();
  }

  #onUp(index: number): void {
    const client = this.#clients[index];
    if (client.upCount === 1) {
      const { address, port } = this.#intercepts[index];
      this.#log.info(`connected to intercept ${formatEndpoint(address, port)}`);
    }
    this.#owner.onWayBack(true);
    if (this.#clients.every((each) => each.upCount > 0)) this.#started.resolve();
  }

  #onDown(index: number, reason: string): void {
    if (this.#clients[index].upCount > 0) return;
    const { address, port } = this.#intercepts[index];
    this.#log.warn(
      `intercept ${formatEndpoint(address, port)} is gone (${reason}); ` +
        "sessions wait, connecting again",
    );
    if (this.#clients.every((client) => client.upCount === 0)) this.#owner.onWayBack(false);
  }

  #announceAll(index: number, connection: number, announce: Announce): void {
    if (!this.#announces) return;
    const client = this.#clients[index];
    this.#owner.forEachRoute((address, port, targetAddress, targetPort) => {
      if (client.connectionIndexOf(address, port) !== connection) return true;
      const sent = announce(address, port, targetAddress, targetPort);
      if (!sent) this.#retryAnnouncements();
      return sent;
    });
  }

  /** An output buffer was full: announcing twice does no harm, so all routes go again, later. */
  #retryAnnouncements(): void {
    if (this.#announceAgain) return;
    this.#announceAgain = true;
    this.#loop.after(ANNOUNCE_AGAIN_MS, () => {
      this.#announceAgain = false;
      this.#owner.forEachRoute((address, port, targetAddress, targetPort) => {
        this.announce(address, port, targetAddress, targetPort);
        return true;
      });
    });
  }
}
