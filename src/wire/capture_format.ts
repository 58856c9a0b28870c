/** What the readers of both capture file formats have in common. Pure. */

/** Longest packet a file may hold: as much as tcpdump ever keeps, and some more. Bounds the memory. */
export const MAX_RECORDED_PACKET_BYTES = 1 << 20;

/** The bytes are no capture file, or not one from here on. The message continues "is broken: ". */
export class CaptureFormatError extends Error {
  override readonly name = "CaptureFormatError";
}

/** Where a packet of a file stands; filled in anew for each packet. */
export class RecordedPacket {
  /** Where it begins, counted from the start of the buffer it was read from. */
  offset = 0;
  /** How many bytes of it the file has, and how many it had on the wire. */
  capturedLength = 0;
  originalLength = 0;
  /** When it was captured, µs since 1970; finer fractions are cut off. */
  timestampUs = 0;
  /** What stands in front of its IP header: a value of `LinkType`. */
  linkType = 0;
}

/**
 * One of the formats. `take` reads the record at `at`.
 *
 * It answers in one number: how many bytes the record has, for 1 and more; how many more than there
 * are must be there before it can say, as a negative number. `isPacket` tells whether the record was a
 * packet; of the bytes of others only those it asks for need ever be in memory.
 *
 * @throws CaptureFormatError
 */
export interface CaptureFormat {
  /** Whether the last record taken was a packet. */
  isPacket: boolean;
  take(view: DataView, at: number, end: number, packet: RecordedPacket): number;
}
