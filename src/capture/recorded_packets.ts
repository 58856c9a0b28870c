/** The seam between recorded packets and those who play or survey them. Types only. */

/** What `next` found: a packet, the end, or that the bytes of the next packet are still to come. */
export const Next = { Packet: 0, End: 1, Wait: 2 } as const;

/** One of the values of {@link Next}. */
export type Next = typeof Next[keyof typeof Next];

/** Recorded packets, one at a time. The fields are those of the current packet. */
export interface RecordedPackets {
  /** What stands in front of the IP header: one of the values of `LinkType`. */
  readonly linkType: number;
  /** Memory with the packet at `offset`; valid until `next`. */
  readonly bytes: Uint8Array;
  /** The same memory as `bytes`. */
  readonly view: DataView;
  readonly offset: number;
  /** How many bytes of the packet were recorded, and how many it had on the wire. */
  readonly capturedLength: number;
  readonly originalLength: number;
  /** When it was captured, µs since 1970. */
  readonly timestampUs: number;
  /** Moves to the next packet. Never waits itself: after `Wait`, ask again a little later. */
  next(): Next;
}

/** A file of them, whatever its format. */
export interface RecordingFile extends RecordedPackets {
  /** As the user named it. */
  readonly name: string;
  /** Whether `rewind` works. */
  readonly isRewindable: boolean;
  /** What has to come before the first packet can, such as "a writer of"; undefined for nothing. */
  readonly waitsFor?: string;
  /** What the user should know about the file; undefined for nothing. */
  readonly warning?: string;
  /** Goes back to the front of the first packet. */
  rewind(): void;
  /** Gives the file back; a second call does nothing. */
  close(): void;
}
