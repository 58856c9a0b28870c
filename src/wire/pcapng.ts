/**
 * Writes the pcapng capture file format (draft-ietf-opsawg-pcapng): one section with one interface,
 * µs timestamps, little-endian. Pure: makes bytes, and leaves it to the caller where they go.
 */

const SECTION_HEADER = 0x0a0d0d0a;
const INTERFACE_DESCRIPTION = 1;
const ENHANCED_PACKET = 6;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const OPTION_END = 0;
const OPTION_COMMENT = 1;
/** Of an enhanced packet block, what stands in front of the packet and behind its padding. */
const PACKET_HEADER_BYTES = 28;
const BLOCK_TRAILER_BYTES = 4;
const TWO_32 = 0x1_0000_0000;

/** Length of a packet's block. */
export function pcapngPacketBytes(capturedLength: number): number {
  return PACKET_HEADER_BYTES + padded(capturedLength) + BLOCK_TRAILER_BYTES;
}

/**
 * What a file begins with.
 *
 * @param linkType a value of {@link LinkType}
 * @param comment a remark on the whole file
 */
export function pcapngFileHeader(linkType: number, comment: string): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder().encode(comment).subarray(0, 0xffff);
  const sectionBytes = 28 + 4 + padded(text.length) + 4;
  const interfaceBytes = 20;
  const bytes = new Uint8Array(sectionBytes + interfaceBytes);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, SECTION_HEADER, true);
  view.setUint32(4, sectionBytes, true);
  view.setUint32(8, BYTE_ORDER_MAGIC, true);
  view.setUint16(12, 1, true); // version 1.0
  view.setBigInt64(16, -1n, true); // length of the section is not known
  view.setUint16(24, OPTION_COMMENT, true);
  view.setUint16(26, text.length, true);
  bytes.set(text, 28);
  view.setUint32(28 + padded(text.length), OPTION_END, true);
  view.setUint32(sectionBytes - 4, sectionBytes, true);
  const at = sectionBytes;
  view.setUint32(at, INTERFACE_DESCRIPTION, true);
  view.setUint32(at + 4, interfaceBytes, true);
  view.setUint16(at + 8, linkType, true);
  view.setUint32(at + 12, 0, true); // packets of any length
  view.setUint32(at + 16, interfaceBytes, true);
  return bytes;
}

/**
 * Writes a packet's block at `offset`.
 *
 * @param timestampUs µs since 1970, a non-negative integer
 * @returns where the block ends
 */
export function writePcapngPacket(
  bytes: Uint8Array,
  view: DataView,
  offset: number,
  timestampUs: number,
  packet: Uint8Array,
  originalLength = packet.length,
): number {
  const blockBytes = pcapngPacketBytes(packet.length);
  const end = offset + blockBytes;
  view.setUint32(offset, ENHANCED_PACKET, true);
  view.setUint32(offset + 4, blockBytes, true);
  view.setUint32(offset + 8, 0, true); // the only interface
  view.setUint32(offset + 12, Math.floor(timestampUs / TWO_32), true);
  view.setUint32(offset + 16, timestampUs % TWO_32, true);
  view.setUint32(offset + 20, packet.length, true);
  view.setUint32(offset + 24, originalLength, true);
  bytes.set(packet, offset + PACKET_HEADER_BYTES);
  bytes.fill(0, offset + PACKET_HEADER_BYTES + packet.length, end - BLOCK_TRAILER_BYTES);
  view.setUint32(end - BLOCK_TRAILER_BYTES, blockBytes, true);
  return end;
}

function padded(length: number): number {
  return (length + 3) & ~3;
}
