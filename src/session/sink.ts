/**
 * The seam between the session layer and whatever carries packets away. Pure.
 *
 * A session reserves room, writes one whole IPv4 packet there and commits it. The injectors and the
 * simulator implement it; the bytes belong to the sink and stay valid until the packet has left.
 */

/** Takes finished IPv4 packets. */
export interface PacketSink {
  /** The memory packets are written into. */
  readonly bytes: Uint8Array;
  /** The same memory as `bytes`. */
  readonly view: DataView;
  /**
   * Finds room for one packet.
   *
   * @param maxBytes upper bound of the packet's length
   * @returns the offset in `bytes` at which the IPv4 header begins, or -1 when no packet can be taken
   * now; the packet then counts as lost on the way and the session's retransmission recovers it
   */
  reserve(maxBytes: number): number;
  /** Hands over the packet written at the offset that `reserve` gave last. */
  commit(lengthBytes: number): void;
}
