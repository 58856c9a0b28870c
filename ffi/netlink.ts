/**
 * Netlink: questions to the kernel about its sockets, routes, devices, neighbours and, which alone
 * needs a privilege, IPsec.
 *
 * The kernel works on a request inside the sending call, so its answer is there when `send` returns:
 * nothing ever waits. A message is a header of 16 bytes, a fixed structure and attributes, each
 * padded to 4 bytes; numbers are in host order (little-endian here), addresses in network order.
 *
 * @see netlink(7), rtnetlink(7), sock_diag(7)
 */

import { Arena } from "./arena.ts";
import { SystemError } from "./errno.ts";
import { InvariantError } from "./invariant.ts";
import { closeFd, openSocket, receive, send, SOCK_RAW } from "./socket.ts";

const AF_NETLINK = 16;
/** Families of netlink: routes, devices and neighbours; sockets; IPsec. */
export const NETLINK_ROUTE = 0;
export const NETLINK_SOCK_DIAG = 4;
export const NETLINK_XFRM = 6;

const NLM_F_REQUEST = 1;
/** The answer is a list. */
export const NLM_F_DUMP = 0x300;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
/** struct nlmsghdr: u32 length, u16 type, u16 flags, u32 sequence, u32 port. */
const HEADER_BYTES = 16;
/** struct nlattr: u16 length with itself, u16 type. */
const ATTRIBUTE_HEADER_BYTES = 4;
/** The upper bits of an attribute's type are flags: nested, network order. */
const ATTRIBUTE_TYPE_MASK = 0x3fff;
const BUFFER_BYTES = 1 << 17;
/** Parts of one answer: what comes beyond is a fault of the kernel's or ours. */
const MAX_PARTS = 1 << 20;

/**
 * Called for each message of an answer.
 *
 * @param at where the structure behind the header begins
 * @param end where the message ends
 */
export type OnMessage = (view: DataView, at: number, end: number) => void;

/** One netlink socket. */
export class NetlinkSocket {
  readonly #fd: number;
  readonly #what: string;
  readonly #memory: Arena;
  #sequence = 0;
  #closed = false;

  /**
   * @param family NETLINK_…
   * @param what for error messages: what is asked for, in the user's terms
   * @throws SystemError
   */
  constructor(family: number, what: string) {
    this.#what = what;
    this.#fd = openSocket(AF_NETLINK, SOCK_RAW, family, what);
    try {
      this.#memory = new Arena(BUFFER_BYTES);
    } catch (error) {
      closeFd(this.#fd);
      throw error;
    }
  }

  /**
   * Asks and hands over the answer.
   *
   * @param type of the request
   * @param flags NLM_F_DUMP for a list, 0 for one message
   * @param write writes structure and attributes into zeroed memory at `at`; returns where they end
   * @returns 0, or the negative error number with which the kernel answered
   * @throws SystemError when there is no answer
   */
  ask(
    type: number,
    flags: number,
    write: (view: DataView, at: number) => number,
    onMessage: OnMessage,
  ): number {
    const { view, base } = this.#memory;
    const sequence = this.#sequence = (this.#sequence + 1) >>> 0;
    this.#memory.bytes.fill(0, 0, 256);
    const lengthBytes = write(view, HEADER_BYTES);
    view.setUint32(0, lengthBytes, true);
    view.setUint16(4, type, true);
    view.setUint16(6, NLM_F_REQUEST | flags, true);
    view.setUint32(8, sequence, true);
    const sent = send(this.#fd, base, lengthBytes);
    if (sent < 0) throw new SystemError(this.#what, "send", -sent);
    for (let part = 0; part < MAX_PARTS; part++) {
      const received = receive(this.#fd, base, BUFFER_BYTES);
      if (received < 0) throw new SystemError(this.#what, "recv", -received);
      const result = readMessages(view, received, sequence, flags !== 0, onMessage);
      if (result !== MORE) return result;
    }
    throw new InvariantError(`${this.#what}: the kernel's answer does not end`);
  }

  /** Gives the socket back; a second call does nothing. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    closeFd(this.#fd);
    this.#memory.free();
  }
}

/** The answer goes on in the next part. */
const MORE = 1;

/** Walks the messages of one read. Returns 0 at the answer's end, a negative error number, or MORE. */
function readMessages(
  view: DataView,
  lengthBytes: number,
  sequence: number,
  isList: boolean,
  onMessage: OnMessage,
): number {
  for (let at = 0; at + HEADER_BYTES <= lengthBytes;) {
    const messageBytes = view.getUint32(at, true);
    if (messageBytes < HEADER_BYTES || at + messageBytes > lengthBytes) return 0;
    // What is left of an answer that was given up is not for this request.
    if (view.getUint32(at + 8, true) === sequence) {
      const type = view.getUint16(at + 4, true);
      if (type === NLMSG_DONE) return 0;
      if (type === NLMSG_ERROR) return view.getInt32(at + HEADER_BYTES, true);
      onMessage(view, at + HEADER_BYTES, at + messageBytes);
      if (!isList) return 0;
    }
    at += (messageBytes + 3) & ~3;
  }
  return MORE;
}

/**
 * Writes the header of an attribute; its value goes to 4 bytes behind `at`.
 *
 * @returns where the next attribute begins
 */
export function writeAttribute(
  view: DataView,
  at: number,
  type: number,
  valueBytes: number,
): number {
  view.setUint16(at, ATTRIBUTE_HEADER_BYTES + valueBytes, true);
  view.setUint16(at + 2, type, true);
  return at + ((ATTRIBUTE_HEADER_BYTES + valueBytes + 3) & ~3);
}

/** Where the value of an attribute begins that has at least `minBytes`, or -1. */
export function findAttribute(
  view: DataView,
  from: number,
  end: number,
  type: number,
  minBytes: number,
): number {
  for (let at = from; at + ATTRIBUTE_HEADER_BYTES <= end;) {
    const attributeBytes = view.getUint16(at, true);
    if (attributeBytes < ATTRIBUTE_HEADER_BYTES || at + attributeBytes > end) return -1;
    if ((view.getUint16(at + 2, true) & ATTRIBUTE_TYPE_MASK) === type) {
      return attributeBytes >= ATTRIBUTE_HEADER_BYTES + minBytes ? at + ATTRIBUTE_HEADER_BYTES : -1;
    }
    at += (attributeBytes + 3) & ~3;
  }
  return -1;
}

/** Length of the value that `findAttribute` found. */
export function valueBytesAt(view: DataView, at: number): number {
  return view.getUint16(at - ATTRIBUTE_HEADER_BYTES, true) - ATTRIBUTE_HEADER_BYTES;
}
