/**
 * The source address and port a simulated client uses. Pure.
 *
 * The captured port is kept where it is free. A port that is in use by a session, or was until
 * shortly, is not: the replay may lag behind, and the target may still hold the old connection.
 */

import { isInPartition, type Partition, WHOLE } from "../wire/partition.ts";
import { type FlowTable, flowWord } from "./flow_table.ts";

/**
 * Values in the table of replayed flows from here on are of connections that have ended shortly
 * before: this and the number of the entry in the queue of those.
 */
export const RECENTLY_CLOSED = 0x40000000;

const FIRST_PORT = 1024;
const PORTS = 65536 - FIRST_PORT;
/** Ports looked at for one that is free, and then for one that was in use until shortly. */
const FREE_PROBES = 64;
const CLOSED_PROBES = 2048;

/** Whose ports these are; see SessionConfig. */
export interface PortRules {
  localhostAddress: number;
  portShift: number;
  portClass: number;
  portClasses: number;
  /** Only ports of this part are chosen; those of the others are other pools' to give. */
  partition: Partition;
}

const ALL_PORTS: PortRules = {
  localhostAddress: 0,
  portShift: 0,
  portClass: 0,
  portClasses: 1,
  partition: WHOLE,
};
const LOOPBACK_NETWORK = 127;

/** Chooses four-tuples towards the targets. */
export class AddressPool {
  /** The address chosen last, int32. */
  address = 0;
  /** The port chosen last. */
  port = 0;
  readonly #addresses: Int32Array;
  readonly #flows: FlowTable;
  readonly #rules: PortRules;
  #cursor = 0;

  /**
   * @param addresses addresses to use in place of the clients' own; empty to keep those
   * @param flows the replayed flows: (address, port and target) to a session, or RECENTLY_CLOSED
   * and more
   * @param rules ports and addresses to keep to
   */
  constructor(addresses: Int32Array, flows: FlowTable, rules: PortRules = ALL_PORTS) {
    this.#addresses = addresses;
    this.#flows = flows;
    this.#rules = rules;
  }

  /**
   * Chooses a free source address and port.
   *
   * @param copy 0 for the first copy of a captured connection, which may keep the client's port
   * @returns false when nothing is free
   */
  choose(clientAddress: number, clientPort: number, copy: number, target: number): boolean {
    const { localhostAddress, portShift } = this.#rules;
    if (localhostAddress !== 0 && clientAddress >>> 24 === LOOPBACK_NETWORK) {
      clientAddress = localhostAddress;
    }
    if (portShift > 0) {
      clientPort += portShift;
      if (clientPort > 65535) clientPort = FIRST_PORT + (clientPort - FIRST_PORT) % PORTS;
    }
    const count = this.#addresses.length;
    const first = count === 0 ? 0 : (mix(clientAddress) + copy) % count;
    for (let i = 0; i < Math.max(1, count); i++) {
      const address = count === 0 ? clientAddress : this.#addresses[(first + i) % count];
      if (this.#chooseOn(address, clientPort, copy, target)) return true;
    }
    return false;
  }

  #chooseOn(address: number, clientPort: number, copy: number, target: number): boolean {
    const { portClass, portClasses, partition } = this.#rules;
    const own = portClasses === 1 ? clientPort : inClass(clientPort, portClass, portClasses);
    const keeps = (copy === 0 || this.#addresses.length > copy) && isInPartition(own, partition);
    if (keeps && this.#take(address, own, target, false)) return true;
    for (let i = 0; i < FREE_PROBES; i++) {
      if (this.#take(address, this.#nextPort(), target, false)) return true;
    }
    // Everything probed was in use until shortly: the target's TIME-WAIT accepts a newer SYN.
    if (keeps && this.#take(address, own, target, true)) return true;
    for (let i = 0; i < CLOSED_PROBES; i++) {
      if (this.#take(address, this.#nextPort(), target, true)) return true;
    }
    return false;
  }

  /** The next port of this pool. */
  #nextPort(): number {
    const { portClass, portClasses, partition } = this.#rules;
    for (;;) {
      // A stride that shares no factor with the number of ports visits every one of them; each
      // combination of a class and a part has some.
      this.#cursor = (this.#cursor + 7919) % PORTS;
      const any = FIRST_PORT + this.#cursor;
      const port = portClasses === 1 ? any : inClass(any, portClass, portClasses);
      if (isInPartition(port, partition)) return port;
    }
  }

  #take(address: number, port: number, target: number, mayBeClosed: boolean): boolean {
    const use = this.#flows.get(address, flowWord(port, target));
    if (use !== -1 && !(mayBeClosed && use >= RECENTLY_CLOSED)) return false;
    this.address = address;
    this.port = port;
    return true;
  }
}

/** The port of the class that is nearest below the wanted one, or the first there is. */
function inClass(wanted: number, portClass: number, portClasses: number): number {
  const port = wanted - wanted % portClasses + portClass;
  if (port >= 65536) return port - portClasses;
  const isTooLow = port === 0 || (port < FIRST_PORT && wanted >= FIRST_PORT);
  return isTooLow ? port + portClasses : port;
}

/** Spreads the bits of a number; 0..2^31-1. */
export function mix(value: number): number {
  let hash = Math.imul(value ^ (value >>> 16), 0x7feb352d);
  hash = Math.imul(hash ^ (hash >>> 15), 0x846ca68b);
  return (hash ^ (hash >>> 16)) >>> 1;
}
