/**
 * Counts received packets without reading any.
 *
 * The kernel counts what a packet socket's filter takes, also when there is no room for it: so a
 * socket with next to no room costs one run of the filter per packet of its protocol, and no copies.
 *
 * @see packet(7), PACKET_STATISTICS
 */

import { bindPacketSocket, packetStatistics, SOCK_DGRAM } from "./packet_ring.ts";
import { AF_PACKET } from "./packet_socket.ts";
import {
  attachFilter,
  closeFd,
  DROP_ALL_FILTER,
  type FilterInstruction,
  openSocket,
  setOption,
  SO_RCVBUF,
  SOL_SOCKET,
} from "./socket.ts";

export class PacketCounter {
  readonly #fd: number;
  readonly #what: string;
  #count = 0;
  #closed = false;

  /**
   * @param protocol which packets the filter sees, as handed upwards on any device: an EtherType
   * @param filter over packets from the network header on; counts those it keeps anything of
   * @param what for error messages: what is counted
   * @throws SystemError, EPERM without root or CAP_NET_RAW
   */
  constructor(protocol: number, filter: readonly FilterInstruction[], what: string) {
    this.#what = what;
    // With protocol 0 the socket receives nothing until it is bound.
    this.#fd = openSocket(AF_PACKET, SOCK_DGRAM, 0, what);
    try {
      attachFilter(this.#fd, DROP_ALL_FILTER, what);
      setOption(this.#fd, SOL_SOCKET, SO_RCVBUF, 0); // the kernel's least
      bindPacketSocket(this.#fd, protocol, 0, what);
      attachFilter(this.#fd, filter, what);
    } catch (error) {
      closeFd(this.#fd);
      throw error;
    }
  }

  /** Packets since the counter was made; after `close` the last count. */
  count(): number {
    if (!this.#closed) this.#count += packetStatistics(this.#fd, this.#what).packets;
    return this.#count;
  }

  /** Gives the socket back; a second call does nothing. */
  close(): void {
    if (this.#closed) return;
    this.count();
    this.#closed = true;
    closeFd(this.#fd);
  }
}
