/**
 * Counts who connects to this host's services over IPv6, which is not captured: what nobody sees would
 * be left out without a word. May touch `ffi`.
 */

import { ETH_P_IPV6 } from "../../ffi/packet_ring.ts";
import { PacketCounter } from "../../ffi/packet_counter.ts";
import { ipv6OpeningFilter } from "./ring_filter.ts";

/** SYNs over IPv6 to some ports of this host; one that is sent again counts again. */
export class Ipv6Clients {
  readonly #counter: PacketCounter;

  /**
   * @param ports at least one, at most 2,000
   * @throws SystemError, EPERM without root or CAP_NET_RAW
   */
  constructor(ports: ReadonlySet<number>) {
    const what = "count of clients over IPv6";
    this.#counter = new PacketCounter(ETH_P_IPV6, ipv6OpeningFilter([...ports]), what);
  }

  /** How many there were since this was made. */
  get count(): number {
    return this.#counter.count();
  }

  /** Gives the socket back; the count stays. */
  close(): void {
    this.#counter.close();
  }
}
