/**
 * Which packets of a client its server accepts, by their numbers (RFC 9293 section 3.10.7.4, RFC 5961
 * section 5.2). Pure.
 *
 * Whoever sends in a client's name without seeing its packets has to guess them.
 */

import type { Packet } from "../wire/packet.ts";
import { seqDiff } from "../wire/sequence.ts";
import { TcpFlag } from "../wire/tcp_flags.ts";
import type { Opening } from "./admission.ts";

/** No window is larger (RFC 7323 section 2.3). */
const MAX_WINDOW_BYTES = 1 << 30;
const MAX_SCALE = 14;
/** Any window may have been as large: what was offered last may not have been seen. */
const MIN_WINDOW_BYTES = 1 << 20;
/** So many packets in a row that agree with each other, and with nothing before: much was missed. */
const AGREEING_PACKETS = 3;

/** Of one connection. */
export class AcceptableNumbers {
  /** Bytes in each unit of the client's window. */
  #unitBytes = 1 << MAX_SCALE;
  /** The largest windows that the client offered, and that its server may have. */
  #windowBytes = MIN_WINDOW_BYTES;
  #serverWindowBytes = MAX_WINDOW_BYTES;
  /** Packets in a row that were too far ahead, and the last one's numbers. */
  #strange = 0;
  #strangeSequence = 0;
  #strangeAck = 0;

  /** Begins with what is known of the handshake; otherwise windows may have any scale. */
  begin({ clientScale, serviceScale, isAnswered }: Opening): void {
    // Windows are scaled only if both wanted it (RFC 7323 section 2.2).
    const isScaled = clientScale >= 0 && (serviceScale >= 0 || !isAnswered);
    this.#unitBytes = isScaled ? 1 << clientScale : 1;
    if (!isAnswered) return;
    const serverUnitBytes = isScaled ? 1 << serviceScale : 1;
    this.#serverWindowBytes = Math.max(MIN_WINDOW_BYTES, 0xffff * serverUnitBytes);
  }

  /**
   * Whether the server accepts a packet: its bytes lie in the server's window; what it acknowledges
   * was sent, and not so long ago that the client's window has passed it.
   *
   * @param next the number expected next
   * @param lastAck what the client has acknowledged so far
   * @param missesPackets whether what lies between may have been missed: several packets that agree
   * with each other are believed then
   */
  accept(packet: Packet, next: number, lastAck: number, missesPackets: boolean): boolean {
    const { sequence, acknowledgment, flags } = packet;
    const ackAhead = (flags & TcpFlag.Ack) === 0 ? 0 : seqDiff(acknowledgment, lastAck);
    if (ackAhead < -this.#windowBytes) return false;
    if (ackAhead > this.#windowBytes || seqDiff(sequence, next) > this.#serverWindowBytes) {
      return missesPackets && this.#agrees(sequence, acknowledgment);
    }
    this.#strange = 0;
    // The window of a SYN is never scaled.
    if ((flags & TcpFlag.Syn) === 0) {
      this.#windowBytes = Math.max(this.#windowBytes, packet.window * this.#unitBytes);
    }
    return true;
  }

  /** Whether a packet that is too far ahead follows others that were, so that it must be true. */
  #agrees(sequence: number, acknowledgment: number): boolean {
    const isNear = this.#strange > 0 &&
      Math.abs(seqDiff(sequence, this.#strangeSequence)) <= this.#serverWindowBytes &&
      Math.abs(seqDiff(acknowledgment, this.#strangeAck)) <= this.#windowBytes;
    this.#strange = isNear ? this.#strange + 1 : 1;
    this.#strangeSequence = sequence;
    this.#strangeAck = acknowledgment;
    return this.#strange >= AGREEING_PACKETS;
  }
}
