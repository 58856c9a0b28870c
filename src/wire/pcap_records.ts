/**
 * The records of a pcap file (https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap): both byte
 * orders, timestamps in µs and ns. Pure.
 */

import {
  type CaptureFormat,
  CaptureFormatError,
  MAX_RECORDED_PACKET_BYTES,
  type RecordedPacket,
} from "./capture_format.ts";
import { PCAP_FILE_HEADER_BYTES, PCAP_RECORD_HEADER_BYTES } from "./pcap_file.ts";

const MAGIC_MICROSECONDS = 0xa1b2c3d4;
const MAGIC_NANOSECONDS = 0xa1b23c4d;
const VERSION_MAJOR = 2;
/** The upper half of the link type field tells about frame check sequences. */
const LINK_TYPE_MASK = 0xffff;

/** Whether a file that begins with these four bytes, read as big-endian number, is a pcap file. */
export function isPcapMagic(magic: number): boolean {
  return [MAGIC_MICROSECONDS, MAGIC_NANOSECONDS].some((known) =>
    magic === known || magic === swapped(known)
  );
}

function swapped(word: number): number {
  return ((word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24)) >>> 0;
}

/** Reads header and records in their order. */
export class PcapRecords implements CaptureFormat {
  isPacket = false;
  #hasHeader = false;
  #littleEndian = false;
  #fractionsPerUs = 1;
  #linkType = 0;

  take(view: DataView, at: number, end: number, packet: RecordedPacket): number {
    this.isPacket = false;
    if (!this.#hasHeader) return this.#takeHeader(view, at, end);
    const headerEnd = at + PCAP_RECORD_HEADER_BYTES;
    if (headerEnd > end) return end - headerEnd;
    const isLittle = this.#littleEndian;
    const capturedLength = view.getUint32(at + 8, isLittle);
    if (capturedLength > MAX_RECORDED_PACKET_BYTES) {
      throw new CaptureFormatError(`a packet of ${capturedLength} bytes`);
    }
    if (headerEnd + capturedLength > end) return end - headerEnd - capturedLength;
    const fraction = view.getUint32(at + 4, isLittle);
    packet.timestampUs = view.getUint32(at, isLittle) * 1_000_000 +
      Math.floor(fraction / this.#fractionsPerUs);
    packet.offset = headerEnd;
    packet.capturedLength = capturedLength;
    packet.originalLength = view.getUint32(at + 12, isLittle);
    packet.linkType = this.#linkType;
    this.isPacket = true;
    return PCAP_RECORD_HEADER_BYTES + capturedLength;
  }

  #takeHeader(view: DataView, at: number, end: number): number {
    const headerEnd = at + PCAP_FILE_HEADER_BYTES;
    if (headerEnd > end) return end - headerEnd;
    const magic = view.getUint32(at);
    this.#littleEndian = magic !== MAGIC_MICROSECONDS && magic !== MAGIC_NANOSECONDS;
    const inOrder = this.#littleEndian ? swapped(magic) : magic;
    this.#fractionsPerUs = inOrder === MAGIC_NANOSECONDS ? 1000 : 1;
    const version = view.getUint16(at + 4, this.#littleEndian);
    if (version !== VERSION_MAJOR) {
      throw new CaptureFormatError(`pcap version ${version}, where 2 is known`);
    }
    this.#linkType = view.getUint32(at + 20, this.#littleEndian) & LINK_TYPE_MASK;
    this.#hasHeader = true;
    return PCAP_FILE_HEADER_BYTES;
  }
}
