/**
 * Looks for answers that are not captured: on all devices, and without the user's filter. Touches a
 * packet socket and netlink.
 *
 * It looks for packets of a few connections, only when it is told to, and takes room for some thousand
 * headers: it costs next to nothing. It has to be made while the program may open packet sockets.
 */

import { ETH_P_ALL, PacketRing } from "../../ffi/packet_ring.ts";
import { attachFilter, DROP_ALL_FILTER } from "../../ffi/socket.ts";
import { networkDevices } from "../capture/network_devices.ts";
import { towardsFilter } from "../capture/ring_filter.ts";
import type { AnnouncedConnection } from "../tunnel/latest_announcements.ts";
import { Packet, ParseResult } from "../wire/packet.ts";

const WHAT = "look for answers";
/** The longest headers of IPv4 and TCP. */
const PACKET_BYTES = 120;
const RING_BYTES = 1 << 20;

/** Where an answer was seen. */
export interface Sighting {
  device: string;
  /** Whether this host sends it, or passes it on. */
  isOutgoing: boolean;
  connection: AnnouncedConnection;
}

export class Scout {
  readonly #ring: PacketRing;
  readonly #packet = new Packet();
  #connections: readonly AnnouncedConnection[] = [];

  /** @throws SystemError, EPERM without root or CAP_NET_RAW */
  constructor() {
    this.#ring = new PacketRing({
      what: WHAT,
      hasLinkHeader: false,
      packetBytes: PACKET_BYTES,
      sizeBytes: RING_BYTES,
    });
    try {
      this.#ring.open({
        protocol: ETH_P_ALL,
        interfaceIndex: 0,
        filter: DROP_ALL_FILTER,
        seesOutgoing: true,
      });
    } catch (error) {
      this.#ring.close();
      throw error;
    }
  }

  /** Looks for the answers of these connections, and no others, from now on; of none: for nothing. */
  lookFor(connections: readonly AnnouncedConnection[]): void {
    this.#connections = connections;
    const clients = [...new Set(connections.map(({ client }) => client))];
    const filter = clients.length === 0 ? DROP_ALL_FILTER : towardsFilter(clients, PACKET_BYTES);
    attachFilter(this.#ring.fd, filter, WHAT);
    // What came before was for others.
    for (let left = this.#ring.frameCount; left > 0 && this.#ring.isReady(); left--) {
      this.#ring.release();
    }
  }

  /** The answers that have come: each device and direction once. */
  sightings(): Sighting[] {
    const ring = this.#ring;
    const packet = this.#packet;
    const seen = new Map<number, AnnouncedConnection>();
    for (let left = ring.frameCount; left > 0 && ring.isReady(); left--) {
      const { bytes, view, packetOffset, capturedLength } = ring;
      if (packet.parseIp(bytes, view, packetOffset, capturedLength) === ParseResult.Tcp) {
        const key = ring.interfaceIndex * 2 + (ring.isOutgoing ? 1 : 0);
        const connection = this.#connections.find((each) => isAnswer(packet, each));
        if (connection !== undefined && !seen.has(key)) seen.set(key, connection);
      }
      ring.release();
    }
    if (seen.size === 0) return [];
    const names = new Map(networkDevices().map(({ index, name }) => [index, name]));
    return [...seen].map(([key, connection]) => ({
      device: names.get(key >> 1) ?? `device ${key >> 1}`,
      isOutgoing: (key & 1) === 1,
      connection,
    }));
  }

  /** Gives socket and memory back; a second call does nothing. */
  close(): void {
    this.#ring.close();
  }
}

function isAnswer(packet: Packet, connection: AnnouncedConnection): boolean {
  const { client, clientPort, target, targetPort } = connection;
  return packet.destinationAddress === client && packet.destinationPort === clientPort &&
    packet.sourcePort === targetPort && (target === 0 || packet.sourceAddress === target);
}
