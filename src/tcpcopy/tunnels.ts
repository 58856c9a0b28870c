/**
 * The tunnels to all intercepts, as one.
 *
 * Every route is announced to every intercept: each forwards what it captures, whichever of them the
 * target's responses pass. A route that could not be announced is announced when there is room.
 */

import type { Logger } from "@logtape/logtape";
import { formatEndpoint } from "../cli/addresses.ts";
import type { EventLoop } from "../loop/event_loop.ts";
import type { RouteAnnouncer } from "../session/session_table.ts";
import { type Announce, TunnelClient } from "../tunnel/client.ts";
import type { TunnelForm } from "../tunnel/form.ts";
import type { RecordHandler } from "../tunnel/codec.ts";
import { OwedRoutes } from "./owed_routes.ts";

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
  /** Places for routes, with and without one; the number may grow. */
  routePlaces(): number;
  /** Calls back for the route at a place; returns what that returned, or true where there is none. */
  visitRoute(place: number, visit: Announce): boolean;
  /** A connection to some intercept is up (true), or the last one of all is down. */
  onWayBack(works: boolean): void;
}

export class Tunnels implements RouteAnnouncer {
  readonly #clients: TunnelClient[];
  readonly #intercepts: readonly InterceptAddress[];
  readonly #loop: EventLoop;
  readonly #owner: TunnelOwner;
  readonly #log: Logger;
  /** Whether intercept is told of every connection. */
  readonly #announces: boolean;
  /** By intercept and connection: the routes that it has to be told. */
  readonly #owed: readonly (readonly OwedRoutes[])[];
  #cancelTurnEnd = () => {};
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
    this.#owed = intercepts.map(() => Array.from({ length: connections }, () => new OwedRoutes()));
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
        routes: (connection) => this.#oweAll(index, connection),
      })
    );
  }

  /** Connects; resolves when every intercept is reached, rejects when one is not. */
  connect(): Promise<void> {
    // Ahead of the clients', which send what was announced.
    this.#cancelTurnEnd = this.#loop.onTurnEnd(() => this.#announceOwed());
    for (const client of this.#clients) client.connect();
    return this.#started.promise;
  }

  announce(address: number, port: number, targetAddress: number, targetPort: number): void {
    if (!this.#announces) return;
    for (let index = 0; index < this.#clients.length; index++) {
      const client = this.#clients[index];
      if (client.announce(address, port, targetAddress, targetPort)) continue;
      // A connection that is down owes nothing: it is told all routes when it is up.
      const connection = client.connectionIndexOf(address, port);
      if (client.isUp(connection)) this.#oweAll(index, connection);
    }
  }

  forget(address: number, port: number, targetAddress: number, targetPort: number): void {
    if (!this.#announces) return;
    for (const client of this.#clients) client.forget(address, port, targetAddress, targetPort);
  }

  close(): void {
    this.#cancelTurnEnd();
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

  #oweAll(index: number, connection: number): void {
    if (this.#announces) this.#owed[index][connection].oweAll(this.#owner.routePlaces());
  }

  /** Announces what is owed, as far as the output buffers have room; the rest in later turns. */
  #announceOwed(): void {
    for (let index = 0; index < this.#clients.length; index++) {
      const owed = this.#owed[index];
      for (let connection = 0; connection < owed.length; connection++) {
        if (owed[connection].isOwing) this.#announceTo(index, connection);
      }
    }
  }

  #announceTo(index: number, connection: number): void {
    const client = this.#clients[index];
    const owed = this.#owed[index][connection];
    if (!client.isUp(connection)) {
      owed.oweNothing();
      return;
    }
    const announce: Announce = (address, port, targetAddress, targetPort) =>
      client.connectionIndexOf(address, port) !== connection ||
      client.announce(address, port, targetAddress, targetPort);
    owed.pay(this.#owner.routePlaces(), (place) => this.#owner.visitRoute(place, announce));
  }
}
