/**
 * The seam between the places packets come from and what is done with them. Types only.
 */

import type { EventLoop } from "../loop/event_loop.ts";

/**
 * Takes one captured packet. The bytes are valid during the call only; what is to be kept must be
 * copied.
 *
 * @param bytes memory of the source, mostly larger than the packet
 * @param view the same memory as `bytes`
 * @param offset where the packet begins, with the link header that `linkType` names
 * @param capturedLength how many bytes of it are there
 * @param originalLength how many bytes it had on the wire
 * @param timestampUs when it was captured, in µs since 1970
 */
export interface PacketHandler {
  (
    bytes: Uint8Array,
    view: DataView,
    offset: number,
    capturedLength: number,
    originalLength: number,
    timestampUs: number,
  ): void;
}

/** Counts since the source was opened. */
export interface CaptureStats {
  /** Packets handed to the packet handler. */
  received: number;
  /** Packets that matched, but for which the kernel had no room left. */
  droppedByKernel: number;
}

/** Packets from the network, as they arrive. */
export interface CaptureSource {
  /** What stands in front of the IP header: one of the values of `LinkType`. */
  readonly linkType: number;
  /**
   * Hands packets to `onPacket` while the loop runs. To be called once.
   *
   * What `onPacket` throws ends the loop's `run`. It may close the source.
   */
  start(loop: EventLoop, onPacket: PacketHandler): void;
  /** Counters; after `close` the last ones. */
  stats(): CaptureStats;
  /** Stops and gives everything back; a second call does nothing. */
  close(): void;
}
