/**
 * An array of struct mmsghdr in an arena: many packets received or sent by one system call.
 *
 * Every message has one buffer (struct iovec) and, for sending without a connection, one IPv4
 * destination (struct sockaddr_in). All of it lives in the arena; what stays the same from call to
 * call is written once. The layout is that of 64-bit Linux (recvmmsg(2), sendmmsg(2)).
 */

import type { Arena } from "./arena.ts";
import { lastErrno, libc } from "./libc.ts";
import { SOCKADDR_IN_BYTES, writeSockaddrIn } from "./socket.ts";

const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;

/** struct msghdr, and behind it the number of bytes moved; padded to a multiple of 8. */
const MMSGHDR_BYTES = 64;
const MSG_NAME = 0;
const MSG_NAMELEN = 8;
const MSG_IOV = 16;
const MSG_IOVLEN = 24;
const MSG_LEN = 56;
/** struct iovec: pointer, size_t length. */
const IOVEC_BYTES = 16;
const MESSAGE_BYTES = MMSGHDR_BYTES + IOVEC_BYTES + SOCKADDR_IN_BYTES;

/** The kernel moves no more messages than this in one call (UIO_MAXIOV). */
export const MAX_MESSAGES_PER_CALL = 1024;

/** A fixed number of messages for `recvmmsg` or `sendmmsg`. */
export class MessageVector {
  readonly #words: Uint32Array;
  readonly #headers: number;
  readonly #headersAddress: bigint;
  readonly #buffers: number;
  readonly #destinations: number;

  /** How much of an arena `count` messages take, without their buffers. */
  static bytesFor(count: number): number {
    return count * MESSAGE_BYTES + 8;
  }

  /**
   * @param arena gives `bytesFor(count)` bytes away
   * @param count number of messages
   * @param withDestinations whether messages carry an IPv4 destination, for sending
   */
  constructor(arena: Arena, count: number, withDestinations: boolean) {
    this.#words = new Uint32Array(arena.bytes.buffer, 0, arena.sizeBytes >>> 2);
    this.#headers = arena.allocate(count * MMSGHDR_BYTES, 8);
    this.#buffers = arena.allocate(count * IOVEC_BYTES, 8);
    this.#destinations = arena.allocate(count * SOCKADDR_IN_BYTES, 8);
    this.#headersAddress = arena.addressAt(this.#headers);
    for (let index = 0; index < count; index++) {
      const header = this.#headers + index * MMSGHDR_BYTES;
      const buffer = arena.addressAt(this.#buffers + index * IOVEC_BYTES);
      arena.view.setBigUint64(header + MSG_IOV, buffer, true);
      arena.view.setUint32(header + MSG_IOVLEN, 1, true);
      if (!withDestinations) continue;
      const destination = this.#destinations + index * SOCKADDR_IN_BYTES;
      writeSockaddrIn(arena.view, destination, 0, 0);
      arena.view.setBigUint64(header + MSG_NAME, arena.addressAt(destination), true);
      arena.view.setUint32(header + MSG_NAMELEN, SOCKADDR_IN_BYTES, true);
    }
  }

  /**
   * Says where the bytes of a message are, or are to go.
   *
   * @param address native address, below 2^53
   */
  setBuffer(index: number, address: number, lengthBytes: number): void {
    const word = (this.#buffers + index * IOVEC_BYTES) >>> 2;
    // Storing into a Uint32Array keeps the value modulo 2^32, which is the lower half.
    this.#words[word] = address;
    this.#words[word + 1] = address / 0x1_0000_0000;
    this.#words[word + 2] = lengthBytes;
  }

  /** Sets the destination from four bytes in network order, read natively as one word. */
  setDestinationWord(index: number, word: number): void {
    this.#words[(this.#destinations + index * SOCKADDR_IN_BYTES + 4) >>> 2] = word;
  }

  /**
   * Gives a message a destination that stands elsewhere in native memory.
   *
   * @param address of a struct sockaddr_…, below 2^53
   */
  setDestinationAt(index: number, address: number, lengthBytes: number): void {
    const word = (this.#headers + index * MMSGHDR_BYTES) >>> 2;
    this.#words[word + (MSG_NAME >>> 2)] = address;
    this.#words[word + (MSG_NAME >>> 2) + 1] = address / 0x1_0000_0000;
    this.#words[word + (MSG_NAMELEN >>> 2)] = lengthBytes;
  }

  /** How many bytes of a message the last call moved. */
  lengthOf(index: number): number {
    return this.#words[(this.#headers + index * MMSGHDR_BYTES + MSG_LEN) >>> 2];
  }

  /**
   * Sends messages `first` to `first + count - 1`, without waiting.
   *
   * @returns how many left (1 or more); or, when the first one failed, its negative error number
   */
  send(fd: number, first: number, count: number): number {
    const at = this.#headersAddress + BigInt(first * MMSGHDR_BYTES);
    const result = libc().sendmmsg(fd, at, count, MSG_DONTWAIT | MSG_NOSIGNAL);
    return result < 0 ? -lastErrno() : result;
  }

  /**
   * Receives into messages 0 to `count - 1` what has arrived, without waiting.
   *
   * @returns how many arrived (1 or more) or a negative error number, `-EAGAIN` for none
   */
  receive(fd: number, count: number): number {
    const result = libc().recvmmsg(fd, this.#headersAddress, count, MSG_DONTWAIT, 0n);
    return result < 0 ? -lastErrno() : result;
  }
}
