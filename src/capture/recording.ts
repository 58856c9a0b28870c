/**
 * The seam between recordings, whatever their format, and those who play them. A cursor: the caller
 * paces the packets.
 */

/** A recording, packet by packet. */
export interface Recording extends Disposable {
  readonly path: string;
  /** What stands in front of the IP header: one of the values of `LinkType`. */
  readonly linkType: number;
  /** Memory with the current packet at `offset`; valid until `next`, `rewind` or `close`. */
  readonly bytes: Uint8Array;
  /** The same memory as `bytes`. */
  readonly view: DataView;
  readonly offset: number;
  readonly capturedLength: number;
  readonly originalLength: number;
  /** When the current packet was captured, in µs since 1970. */
  readonly timestampUs: number;
  /** Moves to the next packet; false at the end. */
  next(): boolean;
  /** Goes back to the front of the first packet. */
  rewind(): void;
  close(): void;
}
