/**
 * The IPv4 header (RFC 791): writing it, the pseudo header of the TCP checksum, and addresses as
 * text. Addresses are signed 32-bit integers in host arithmetic: 1.2.3.4 is 0x01020304 | 0. Pure.
 */

import { foldChecksum, onesComplementSumView } from "./checksum.ts";

/** Length of an IPv4 header without options. */
export const IPV4_HEADER_BYTES = 20;

/** Protocol number of TCP. */
export const IP_PROTOCOL_TCP = 6;

const VERSION_4_HEADER_5_WORDS = 0x45;
const DONT_FRAGMENT = 0x4000;

/**
 * Writes an IPv4 header of 20 bytes with the "don't fragment" bit set and its checksum filled in.
 *
 * @param totalLength header and everything behind it, bytes
 * @param source int32 address
 * @param destination int32 address
 */
export function writeIpv4Header(
  view: DataView,
  offset: number,
  totalLength: number,
  identification: number,
  ttl: number,
  protocol: number,
  source: number,
  destination: number,
): void {
  view.setUint16(offset, VERSION_4_HEADER_5_WORDS << 8);
  view.setUint16(offset + 2, totalLength);
  view.setUint16(offset + 4, identification);
  view.setUint16(offset + 6, DONT_FRAGMENT);
  view.setUint8(offset + 8, ttl);
  view.setUint8(offset + 9, protocol);
  view.setUint16(offset + 10, 0);
  view.setInt32(offset + 12, source);
  view.setInt32(offset + 16, destination);
  const sum = onesComplementSumView(view, offset, IPV4_HEADER_BYTES, 0);
  view.setUint16(offset + 10, foldChecksum(sum));
}

/**
 * Computes the TCP checksum of a segment over IPv4 (RFC 9293 section 3.1), taking the checksum field
 * as zero whatever it holds.
 *
 * @param ipOffset where the IPv4 header stands; its addresses enter the pseudo header
 * @param tcpLength TCP header and payload, bytes; all of it must be present
 * @returns the value of the checksum field, 0..65535
 */
export function tcpChecksumIpv4(
  _bytes: Uint8Array,
  view: DataView,
  ipOffset: number,
  tcpOffset: number,
  tcpLength: number,
): number {
  const source = view.getInt32(ipOffset + 12);
  const destination = view.getInt32(ipOffset + 16);
  // Adding the complement of a one's complement word takes it out of the sum again.
  const initial = (source >>> 16) + (source & 0xffff) +
    (destination >>> 16) + (destination & 0xffff) +
    IP_PROTOCOL_TCP + tcpLength +
    (~view.getUint16(tcpOffset + 16) & 0xffff);
  return foldChecksum(onesComplementSumView(view, tcpOffset, tcpLength, initial));
}

/**
 * Reads a dotted quad, the only form accepted: four decimal numbers 0..255 without leading zeros.
 *
 * @returns the address as int32, or undefined when the text is anything else
 */
export function parseIpv4(text: string): number | undefined {
  const parts = text.split(".");
  if (parts.length !== 4) return undefined;
  let address = 0;
  for (const part of parts) {
    if (!/^(0|[1-9][0-9]{0,2})$/.test(part)) return undefined;
    const value = Number(part);
    if (value > 255) return undefined;
    address = (address << 8) | value;
  }
  return address;
}

/**
 * Writes an int32 address as a dotted quad.
 *
 * @example
 * ```ts
 * import { formatIpv4 } from "./ipv4.ts";
 * formatIpv4(0x7f000001); // "127.0.0.1"
 * ```
 */
export function formatIpv4(address: number): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}
