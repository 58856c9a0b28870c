/**
 * Who wants the records of which connection. Pure; allocates nothing except when it grows.
 *
 * Several holders may have a route for the same connection, and all of them are served: nothing tells
 * which of them is right, so none can take a connection away from another. A tcpcopy that was started
 * again, or came back over another address, is served from its announcement on.
 *
 * What always holds: a holder's own list has all its routes and no others, so that letting a holder
 * go costs what it holds, not a look at the whole table. The table is bounded: when it is full, the
 * holder that has most gives one up that has long not been used (the original tcpcopy never says that
 * it is done with a connection).
 */

import { ConnectionMap } from "./connection_map.ts";

/** 32-bit words of a route. */
const ROUTE_WORDS = 8;
const CLIENT = 0;
const TARGET = 1;
const PORTS = 2;
const HOLDER = 3;
const USED_AT = 4;
/** The next route for the same connection. */
const SIBLING = 5;
/** Neighbours in the holder's list; the oldest stands first. NEXT also links what is free. */
const PREVIOUS = 6;
const NEXT = 7;

/** No route; routes are numbers above it. */
export const NO_ROUTE = 0;

const INITIAL_ROUTES = 1024;
/** How many routes are looked at for the one that is given up. */
const EVICTION_SAMPLE = 8;

/** One who has routes. Only the table writes to it. */
export class RouteHolder {
  /** An int32 by which the user of the table knows it. */
  readonly id: number;
  /** Routes it has. */
  routes = 0;
  /** Ends of its list. */
  first = NO_ROUTE;
  last = NO_ROUTE;

  constructor(id: number) {
    this.id = id;
  }
}

/** See the top of the file. Addresses are int32; times are integers, only compared with each other. */
export class RouteTable {
  /** Routes in the table. */
  size: number;
  /** Routes that were given up because the table was full. */
  evicted: number;
  readonly #maxRoutes: number;
  readonly #greediest: () => RouteHolder;
  /** Connection to the first of its routes. */
  readonly #connections: ConnectionMap;
  #words: Int32Array;
  /** First route that is free, of those below `#made`. */
  #free: number;
  /** Routes from here on have never been used. */
  #made: number;

  /**
   * @param maxRoutes the table holds no more than this
   * @param seed see {@link ConnectionMap}
   * @param greediest asked when the table is full: who gives a route up; it must have one
   */
  constructor(maxRoutes: number, seed: number, greediest: () => RouteHolder) {
    this.size = 0;
    this.evicted = 0;
    this.#maxRoutes = maxRoutes;
    this.#greediest = greediest;
    this.#connections = new ConnectionMap(seed);
    this.#words = new Int32Array(INITIAL_ROUTES * ROUTE_WORDS);
    this.#free = NO_ROUTE;
    this.#made = NO_ROUTE + 1;
  }

  /** The first route for a connection, or NO_ROUTE. */
  find(
    clientAddress: number,
    clientPort: number,
    targetAddress: number,
    targetPort: number,
  ): number {
    return this.#connections.get(clientAddress, clientPort, targetAddress, targetPort);
  }

  /** The next route for the same connection, or NO_ROUTE. */
  following(route: number): number {
    return this.#words[route * ROUTE_WORDS + SIBLING];
  }

  /** The id of a route's holder. */
  holderOf(route: number): number {
    return this.#words[route * ROUTE_WORDS + HOLDER];
  }

  /** Notes that a route is used. Returns the id of its holder. */
  use(route: number, nowMs: number): number {
    const at = route * ROUTE_WORDS;
    this.#words[at + USED_AT] = nowMs;
    return this.#words[at + HOLDER];
  }

  /** Gives a holder a route for a connection. Returns false when it had one. */
  add(
    holder: RouteHolder,
    clientAddress: number,
    clientPort: number,
    targetAddress: number,
    targetPort: number,
    nowMs: number,
  ): boolean {
    const connections = this.#connections;
    let first = connections.get(clientAddress, clientPort, targetAddress, targetPort);
    if (this.#amongSiblings(first, holder.id) !== NO_ROUTE) return false;
    if (this.size >= this.#maxRoutes) {
      this.#evict(nowMs);
      // It may have been one of this connection's.
      first = connections.get(clientAddress, clientPort, targetAddress, targetPort);
    }
    const route = this.#make();
    const words = this.#words;
    const at = route * ROUTE_WORDS;
    words[at + CLIENT] = clientAddress;
    words[at + TARGET] = targetAddress;
    words[at + PORTS] = (clientPort << 16) | targetPort;
    words[at + HOLDER] = holder.id;
    words[at + USED_AT] = nowMs;
    words[at + SIBLING] = first;
    connections.set(clientAddress, clientPort, targetAddress, targetPort, route);
    this.#append(holder, route);
    holder.routes++;
    this.size++;
    return true;
  }

  /** Takes a holder's route for a connection away. Returns false when it had none. */
  remove(
    holder: RouteHolder,
    clientAddress: number,
    clientPort: number,
    targetAddress: number,
    targetPort: number,
  ): boolean {
    const first = this.#connections.get(clientAddress, clientPort, targetAddress, targetPort);
    const route = this.#amongSiblings(first, holder.id);
    if (route === NO_ROUTE) return false;
    this.#drop(holder, route);
    return true;
  }

  /** Takes all routes of a holder away. */
  removeAll(holder: RouteHolder): void {
    while (holder.first !== NO_ROUTE) this.#drop(holder, holder.first);
  }

  /** The route of this holder among those of one connection, or NO_ROUTE. */
  #amongSiblings(first: number, holderId: number): number {
    const words = this.#words;
    let route = first;
    while (route !== NO_ROUTE && words[route * ROUTE_WORDS + HOLDER] !== holderId) {
      route = words[route * ROUTE_WORDS + SIBLING];
    }
    return route;
  }

  /** A route to be filled in. */
  #make(): number {
    const route = this.#free;
    if (route !== NO_ROUTE) {
      this.#free = this.#words[route * ROUTE_WORDS + NEXT];
      return route;
    }
    if ((this.#made + 1) * ROUTE_WORDS > this.#words.length) {
      const words = new Int32Array(this.#words.length * 2);
      words.set(this.#words);
      this.#words = words;
    }
    return this.#made++;
  }

  #drop(holder: RouteHolder, route: number): void {
    this.#unlinkSibling(route);
    this.#unlink(holder, route);
    this.#words[route * ROUTE_WORDS + NEXT] = this.#free;
    this.#free = route;
    holder.routes--;
    this.size--;
  }

  #unlinkSibling(route: number): void {
    const words = this.#words;
    const at = route * ROUTE_WORDS;
    const [client, target, ports] = [words[at + CLIENT], words[at + TARGET], words[at + PORTS]];
    const [clientPort, targetPort] = [ports >>> 16, ports & 0xffff];
    const connections = this.#connections;
    const sibling = words[at + SIBLING];
    let before = connections.get(client, clientPort, target, targetPort);
    if (before !== route) {
      while (words[before * ROUTE_WORDS + SIBLING] !== route) {
        before = words[before * ROUTE_WORDS + SIBLING];
      }
      words[before * ROUTE_WORDS + SIBLING] = sibling;
    } else if (sibling === NO_ROUTE) connections.remove(client, clientPort, target, targetPort);
    else connections.set(client, clientPort, target, targetPort, sibling);
  }

  /** Puts a route at the end of the holder's list. */
  #append(holder: RouteHolder, route: number): void {
    const words = this.#words;
    words[route * ROUTE_WORDS + PREVIOUS] = holder.last;
    words[route * ROUTE_WORDS + NEXT] = NO_ROUTE;
    if (holder.last === NO_ROUTE) holder.first = route;
    else words[holder.last * ROUTE_WORDS + NEXT] = route;
    holder.last = route;
  }

  #unlink(holder: RouteHolder, route: number): void {
    const words = this.#words;
    const previous = words[route * ROUTE_WORDS + PREVIOUS];
    const next = words[route * ROUTE_WORDS + NEXT];
    if (previous === NO_ROUTE) holder.first = next;
    else words[previous * ROUTE_WORDS + NEXT] = next;
    if (next === NO_ROUTE) holder.last = previous;
    else words[next * ROUTE_WORDS + PREVIOUS] = previous;
  }

  /**
   * Gives up the longest unused of the greediest holder's first routes. The one of them that was used
   * last goes to the end of the list, so that what is in use does not gather at its beginning.
   */
  #evict(nowMs: number): void {
    const holder = this.#greediest();
    const words = this.#words;
    let victim = NO_ROUTE;
    let victimIdleMs = -1;
    let busiest = NO_ROUTE;
    let busiestIdleMs = Infinity;
    let route = holder.first;
    for (let looked = 0; looked < EVICTION_SAMPLE && route !== NO_ROUTE; looked++) {
      const idleMs = Math.max(0, (nowMs - words[route * ROUTE_WORDS + USED_AT]) | 0);
      if (idleMs > victimIdleMs) {
        victim = route;
        victimIdleMs = idleMs;
      }
      if (idleMs < busiestIdleMs) {
        busiest = route;
        busiestIdleMs = idleMs;
      }
      route = words[route * ROUTE_WORDS + NEXT];
    }
    if (busiestIdleMs < victimIdleMs) {
      this.#unlink(holder, busiest);
      this.#append(holder, busiest);
    }
    this.#drop(holder, victim);
    this.evicted++;
  }
}
