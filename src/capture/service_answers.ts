/**
 * Watches whom the services of this host accept: their SYN-ACKs, one packet for each connection. May
 * touch `ffi`.
 *
 * A packet ring whose filter lets nothing else through, so that the kernel copies one packet for each
 * connection. It has no place in the loop: whoever needs to know looks.
 */

import { ETH_P_ALL, PacketRing } from "../../ffi/packet_ring.ts";
import type { Partition } from "../wire/partition.ts";
import type { CapturePair } from "./bpf.ts";
import { answeringFilter } from "./ring_filter.ts";

/** The longest headers of a SYN-ACK. */
const PACKET_BYTES = 120;
/** Room for 32,768 SYN-ACKs, of all parts together. */
const RING_BYTES = 8 << 20;

/** Takes an IPv4 packet; the memory is valid during the call. */
export type OnAnswer = (
  bytes: Uint8Array,
  view: DataView,
  offset: number,
  length: number,
) => void;

export class ServiceAnswers {
  readonly #ring: PacketRing;
  readonly #onAnswer: OnAnswer;
  #closed = false;

  /**
   * @param pairs the services
   * @param partition only answers to clients of this part
   * @param ringBytes room, 256 bytes for each answer
   * @throws SystemError, EPERM without root or CAP_NET_RAW
   */
  constructor(
    pairs: readonly CapturePair[],
    partition: Partition,
    onAnswer: OnAnswer,
    ringBytes = RING_BYTES / partition.count,
  ) {
    this.#onAnswer = onAnswer;
    this.#ring = new PacketRing({
      what: "watch for the services' answers",
      hasLinkHeader: false,
      packetBytes: PACKET_BYTES,
      sizeBytes: ringBytes,
    });
    try {
      this.#ring.open({
        protocol: ETH_P_ALL,
        interfaceIndex: 0,
        filter: answeringFilter(pairs, partition),
        seesOutgoing: true,
      });
    } catch (error) {
      this.#ring.close();
      throw error;
    }
  }

  /** Hands over what has come, in order, until the one that is looked for has. */
  look(isFound: () => boolean): void {
    while (!this.#closed && this.#ring.isReady()) {
      this.#hand();
      if (isFound()) return;
    }
  }

  /** Hands over what came before a time, µs since 1970: nobody has looked for it. */
  handOld(beforeUs: number): void {
    while (!this.#closed && this.#ring.isReady() && this.#ring.timestampUs < beforeUs) this.#hand();
  }

  #hand(): void {
    const ring = this.#ring;
    this.#onAnswer(ring.bytes, ring.view, ring.packetOffset, ring.capturedLength);
    ring.release();
  }

  /** Answers that found no room. */
  get dropped(): number {
    return this.#ring.dropCount();
  }

  /** Gives socket and memory back; a second call does nothing. */
  close(): void {
    this.#closed = true;
    this.#ring.close();
  }
}
