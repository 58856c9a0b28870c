/**
 * Asks the kernel whether this host has a TCP connection. Touches a netlink socket.
 *
 * A question takes some 5 us; a stranger who makes up packets could ask for many, so they are
 * limited, and above the limit the answer is "not that I know".
 *
 * @see sock_diag(7)
 */

import { NETLINK_SOCK_DIAG, NetlinkSocket } from "../../ffi/netlink.ts";

const AF_INET = 2;
const IPPROTO_TCP = 6;
const SOCK_DIAG_BY_FAMILY = 20;
/** struct inet_diag_req_v2: u8 family, u8 protocol, …, u32 states, struct inet_diag_sockid. */
const REQUEST_BYTES = 56;
const STATES = 4;
const SERVICE_PORT = 8;
const CLIENT_PORT = 10;
const SERVICE_ADDRESS = 12;
const CLIENT_ADDRESS = 28;
const COOKIE = 48;
const NO_COOKIE = 0xffff_ffff;
/** struct inet_diag_msg: u8 family, u8 state, … */
const STATE = 1;
/** States in which the hand-shake was completed: all but SYN-SENT, SYN-RECEIVED, CLOSED, LISTEN. */
const ACCEPTED_STATES = new Set([1, 4, 5, 6, 8, 9, 11]);

const MAX_QUESTIONS_PER_SECOND = 2_000;

/** Looks connections up, by the client's and the service's address (int32) and port. */
export class ConnectionLookup {
  readonly #netlink = new NetlinkSocket(NETLINK_SOCK_DIAG, "look-up of a connection");
  /** Questions that may be asked, and since when that is so. */
  #left = MAX_QUESTIONS_PER_SECOND;
  #sinceMs = 0;
  #isAccepted = false;

  /** @param nowMs a clock that never goes back */
  has(
    clientAddress: number,
    clientPort: number,
    serviceAddress: number,
    servicePort: number,
    nowMs: number,
  ): boolean {
    if (nowMs - this.#sinceMs >= 1000) {
      this.#sinceMs = nowMs;
      this.#left = MAX_QUESTIONS_PER_SECOND;
    }
    if (this.#left <= 0) return false;
    this.#left--;
    this.#isAccepted = false;
    // The answer is an error where there is neither a connection nor a service.
    this.#netlink.ask(
      SOCK_DIAG_BY_FAMILY,
      0,
      (view, at) => {
        view.setUint8(at, AF_INET);
        view.setUint8(at + 1, IPPROTO_TCP);
        view.setUint32(at + STATES, NO_COOKIE, true);
        view.setUint16(at + SERVICE_PORT, servicePort);
        view.setUint16(at + CLIENT_PORT, clientPort);
        view.setInt32(at + SERVICE_ADDRESS, serviceAddress);
        view.setInt32(at + CLIENT_ADDRESS, clientAddress);
        view.setUint32(at + COOKIE, NO_COOKIE);
        view.setUint32(at + COOKIE + 4, NO_COOKIE);
        return at + REQUEST_BYTES;
      },
      (view, at) => this.#isAccepted = ACCEPTED_STATES.has(view.getUint8(at + STATE)),
    );
    return this.#isAccepted;
  }

  /** Gives the socket back; a second call does nothing. */
  close(): void {
    this.#netlink.close();
  }
}
