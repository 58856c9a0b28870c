/**
 * Writes the pcap capture file format (https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap):
 * microsecond timestamps, little-endian. Pure: makes bytes, and leaves it to the caller where they
 * go.
 */

/** Length of the header at the start of a file. */
export const PCAP_FILE_HEADER_BYTES = 24;

/** Length of the header in front of each packet. */
export const PCAP_RECORD_HEADER_BYTES = 16;

const MAGIC_MICROSECONDS = 0xa1b2c3d4;
const VERSION_MAJOR = 2;
const VERSION_MINOR = 4;

/**
 * Writes the header of a file.
 *
 * @param linkType a value of {@link LinkType}
 * @param snapLength no packet in the file has more captured bytes than this
 */
export function writePcapFileHeader(
  view: DataView,
  offset: number,
  linkType: number,
  snapLength: number,
): void {
  view.setUint32(offset, MAGIC_MICROSECONDS, true);
  view.setUint16(offset + 4, VERSION_MAJOR, true);
  view.setUint16(offset + 6, VERSION_MINOR, true);
  view.setUint32(offset + 8, 0, true);
  view.setUint32(offset + 12, 0, true);
  view.setUint32(offset + 16, snapLength, true);
  view.setUint32(offset + 20, linkType, true);
}

/**
 * Writes the header of one packet.
 *
 * @param timestampUs microseconds since 1970, a non-negative integer
 * @param capturedLength bytes of the packet that follow in the file
 * @param originalLength bytes the packet had on the wire
 */
export function writePcapRecordHeader(
  view: DataView,
  offset: number,
  timestampUs: number,
  capturedLength: number,
  originalLength: number,
): void {
  const seconds = Math.floor(timestampUs / 1_000_000);
  view.setUint32(offset, seconds, true);
  view.setUint32(offset + 4, timestampUs - seconds * 1_000_000, true);
  view.setUint32(offset + 8, capturedLength, true);
  view.setUint32(offset + 12, originalLength, true);
}

/**
 * Builds a capture file in memory that grows as needed; for tests and small dumps.
 *
 * @example
 * ```ts
 * import { LinkType } from "./link_type.ts";
 * import { PcapWriter } from "./pcap_file.ts";
 * const file = new PcapWriter(LinkType.Raw);
 * file.add(1_000_000, new Uint8Array(40));
 * file.bytes(); // 24 + 16 + 40 bytes
 * ```
 */
export class PcapWriter {
  #buffer: Uint8Array<ArrayBuffer>;
  #view: DataView;
  #length: number;
  readonly #snapLength: number;

  /**
   * @param linkType a value of {@link LinkType}
   * @param snapLength longer packets are cut to this many bytes
   */
  constructor(linkType: number, snapLength = 262144) {
    this.#buffer = new Uint8Array(4096);
    this.#view = new DataView(this.#buffer.buffer);
    this.#snapLength = snapLength;
    writePcapFileHeader(this.#view, 0, linkType, snapLength);
    this.#length = PCAP_FILE_HEADER_BYTES;
  }

  /**
   * Appends a packet.
   *
   * @param packet the captured bytes
   * @param originalLength bytes the packet had on the wire, when that is more
   */
  add(timestampUs: number, packet: Uint8Array, originalLength = packet.length): void {
    const captured = Math.min(packet.length, this.#snapLength);
    const start = this.#length + PCAP_RECORD_HEADER_BYTES;
    this.#ensure(start + captured);
    writePcapRecordHeader(this.#view, this.#length, timestampUs, captured, originalLength);
    this.#buffer.set(packet.subarray(0, captured), start);
    this.#length = start + captured;
  }

  /** The file as built so far; a copy. */
  bytes(): Uint8Array<ArrayBuffer> {
    return this.#buffer.slice(0, this.#length);
  }

  #ensure(sizeBytes: number): void {
    if (sizeBytes <= this.#buffer.length) return;
    const grown = new Uint8Array(Math.max(sizeBytes, this.#buffer.length * 2));
    grown.set(this.#buffer.subarray(0, this.#length));
    this.#buffer = grown;
    this.#view = new DataView(grown.buffer);
  }
}
