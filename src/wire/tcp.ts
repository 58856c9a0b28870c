/**
 * The TCP header (RFC 9293 section 3.1): writing it and its checksum. Pure.
 */

import { tcpChecksumIpv4 } from "./ipv4.ts";

/** Length of a TCP header without options. */
export const TCP_HEADER_BYTES = 20;

/** Longest TCP header the data offset field can express. */
export const MAX_TCP_HEADER_BYTES = 60;

/** Where the checksum stands in the header. */
export const TCP_CHECKSUM_OFFSET = 16;

/**
 * Writes the 20 fixed bytes of a TCP header with checksum and urgent pointer zero. Options, if any,
 * are the caller's to write behind it, and the checksum comes last: {@link writeTcpChecksumIpv4}.
 *
 * @param sequence int32
 * @param acknowledgment int32
 * @param headerLength fixed part and options, bytes; a multiple of 4 between 20 and 60
 * @param flags bits of {@link TcpFlag}
 * @param window unscaled, 0..65535
 */
export function writeTcpHeader(
  view: DataView,
  offset: number,
  sourcePort: number,
  destinationPort: number,
  sequence: number,
  acknowledgment: number,
  headerLength: number,
  flags: number,
  window: number,
): void {
  view.setUint16(offset, sourcePort);
  view.setUint16(offset + 2, destinationPort);
  view.setInt32(offset + 4, sequence);
  view.setInt32(offset + 8, acknowledgment);
  view.setUint16(offset + 12, ((headerLength >>> 2) << 12) | (flags & 0xff));
  view.setUint16(offset + 14, window);
  view.setInt32(offset + 16, 0);
}

/**
 * Computes and stores the checksum of a finished segment over IPv4.
 *
 * @param tcpLength TCP header and payload, bytes
 */
export function writeTcpChecksumIpv4(
  bytes: Uint8Array,
  view: DataView,
  ipOffset: number,
  tcpOffset: number,
  tcpLength: number,
): void {
  view.setUint16(
    tcpOffset + TCP_CHECKSUM_OFFSET,
    tcpChecksumIpv4(bytes, view, ipOffset, tcpOffset, tcpLength),
  );
}
