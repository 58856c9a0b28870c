/**
 * The record in which intercept tells tcpcopy of one packet of the target: its headers, and in the
 * longer form its payload. Pure; allocates nothing.
 *
 * Layout: IPv4 header (20 bytes, no options), TCP header (20), TCP options (24), and in the long form
 * payload (128), which begins right behind the TCP header. How much payload there was follows from
 * the lengths: IP total length, less IHL, less data offset.
 *
 * Two packets do not fit: one with IP options, and one with more than 24 bytes of TCP options. Here
 * both are made to fit (the option list is ended cleanly, lengths and data offset are corrected), so
 * that a record written or passed on here is a consistent packet of which only payload is missing.
 * The original intercept leaves IHL, data offset and total length as captured although the record
 * holds fewer bytes, which is why records from the wire go through {@link normalizeRecord}.
 */

import type { Packet } from "../wire/packet.ts";
import { IP_PROTOCOL_TCP, IPV4_HEADER_BYTES } from "../wire/ipv4.ts";
import { TCP_HEADER_BYTES } from "../wire/tcp.ts";
import { TcpOptionKind } from "../wire/tcp_options.ts";
import { TcpFlag } from "../wire/tcp_flags.ts";

/** Length of a record without payload; the default build of the original. */
export const RECORD_BYTES = 64;

/** Length of a record with room for payload. */
export const RECORD_WITH_PAYLOAD_BYTES = 192;

/** Payload a long record has room for; longer payload is left out altogether. */
export const MAX_RECORD_PAYLOAD_BYTES = 128;

/** Longest TCP header a record holds: 24 bytes of options. */
export const MAX_RECORD_TCP_HEADER_BYTES = RECORD_BYTES - IPV4_HEADER_BYTES;

/** The two lengths of record. */
export type RecordBytes = typeof RECORD_BYTES | typeof RECORD_WITH_PAYLOAD_BYTES;

/** {@link normalizeRecord}: the bytes are no record; the stream is something else. */
export const NOT_A_RECORD = -1;

/** {@link normalizeRecord}: a record whose lengths contradict each other; it says nothing. */
export const USELESS_RECORD = 0;

const TCP_AT = IPV4_HEADER_BYTES;
const MAX_TOTAL_LENGTH = 65535;
const VERSION_4_HEADER_5_WORDS = 0x45;

/**
 * Writes the record of a captured IPv4 packet.
 *
 * In a long record the payload is included when it has at most 128 bytes and was captured whole.
 * The total length cannot express a packet of more than 65535 bytes (which exists only on the way
 * through large-receive offloads); it then says 65535 and a FIN is withheld, so that the receiver
 * acknowledges less than there was and the target sends the rest again.
 *
 * @param packet a parsed packet with `ipVersion` 4
 * @param bytes where the record goes
 * @param view the same memory as `bytes`
 */
export function writeRecord(
  packet: Packet,
  bytes: Uint8Array,
  view: DataView,
  offset: number,
  recordBytes: RecordBytes,
): void {
  const from = packet.view;
  const ipAt = packet.ipOffset;
  for (let i = 0; i < IPV4_HEADER_BYTES; i += 4) {
    view.setInt32(offset + i, from.getInt32(ipAt + i));
  }
  const isCut = packet.tcpHeaderLength > MAX_RECORD_TCP_HEADER_BYTES;
  const tcpHeaderBytes = isCut ? MAX_RECORD_TCP_HEADER_BYTES : packet.tcpHeaderLength;
  const tcpFrom = packet.tcpOffset;
  const tcpTo = offset + TCP_AT;
  for (let i = 0; i < tcpHeaderBytes; i += 4) {
    view.setInt32(tcpTo + i, from.getInt32(tcpFrom + i));
  }
  for (let at = tcpTo + tcpHeaderBytes; at < offset + recordBytes; at += 4) view.setInt32(at, 0);

  view.setUint8(offset, VERSION_4_HEADER_5_WORDS);
  let totalLength = IPV4_HEADER_BYTES + tcpHeaderBytes + packet.payloadLength;
  if (totalLength > MAX_TOTAL_LENGTH) {
    totalLength = MAX_TOTAL_LENGTH;
    view.setUint8(tcpTo + 13, view.getUint8(tcpTo + 13) & ~TcpFlag.Fin);
  }
  view.setUint16(offset + 2, totalLength);
  if (isCut) endCutHeader(view, tcpTo);
  if (recordBytes === RECORD_WITH_PAYLOAD_BYTES) {
    copyPayload(packet, bytes, tcpTo + tcpHeaderBytes);
  }
}

function copyPayload(packet: Packet, bytes: Uint8Array, to: number): void {
  const length = packet.payloadLength;
  if (length > MAX_RECORD_PAYLOAD_BYTES || packet.capturedPayloadLength < length) return;
  const from = packet.bytes;
  const at = packet.payloadOffset;
  for (let i = 0; i < length; i++) bytes[to + i] = from[at + i];
}

/**
 * Checks a record that came from a peer and makes it consistent in place: a cut header is described
 * as the shorter header it has become, IP options that are not there are taken out of the lengths.
 *
 * @param bytes the record's memory; may be changed
 * @param view the same memory as `bytes`
 * @returns how many bytes of the record mean something (at least 40, headers and payload if it is
 * there), so that it can be parsed as a packet of which that much was captured;
 * {@link NOT_A_RECORD} or {@link USELESS_RECORD} otherwise
 */
export function normalizeRecord(
  bytes: Uint8Array,
  view: DataView,
  offset: number,
  recordBytes: RecordBytes,
): number {
  const versionAndLength = view.getUint8(offset);
  const ipHeaderBytes = (versionAndLength & 0x0f) << 2;
  const tcpAt = offset + TCP_AT;
  const tcpHeaderBytes = (view.getUint8(tcpAt + 12) >>> 4) << 2;
  if (
    versionAndLength >>> 4 !== 4 || ipHeaderBytes < IPV4_HEADER_BYTES ||
    view.getUint8(offset + 9) !== IP_PROTOCOL_TCP || tcpHeaderBytes < TCP_HEADER_BYTES
  ) return NOT_A_RECORD;
  const payloadBytes = view.getUint16(offset + 2) - ipHeaderBytes - tcpHeaderBytes;
  if (payloadBytes < 0) return USELESS_RECORD;

  const isCut = tcpHeaderBytes > MAX_RECORD_TCP_HEADER_BYTES;
  const keptBytes = isCut ? MAX_RECORD_TCP_HEADER_BYTES : tcpHeaderBytes;
  let presentBytes = IPV4_HEADER_BYTES + keptBytes;
  if (recordBytes === RECORD_WITH_PAYLOAD_BYTES && payloadBytes <= MAX_RECORD_PAYLOAD_BYTES) {
    const payloadAt = TCP_AT + tcpHeaderBytes;
    if (payloadAt + payloadBytes <= recordBytes) {
      if (isCut) {
        bytes.copyWithin(
          tcpAt + keptBytes,
          offset + payloadAt,
          offset + payloadAt + payloadBytes,
        );
      }
      presentBytes += payloadBytes;
    }
  }
  if (isCut) endCutHeader(view, tcpAt);
  if (isCut || ipHeaderBytes !== IPV4_HEADER_BYTES) {
    view.setUint8(offset, VERSION_4_HEADER_5_WORDS);
    view.setUint16(offset + 2, IPV4_HEADER_BYTES + keptBytes + payloadBytes);
  }
  return presentBytes;
}

/**
 * Makes a TCP header of which only 44 bytes are left a header of 44 bytes: sets the data offset and
 * ends the option list behind its last whole option. Of a cut SACK option the whole blocks stay; the
 * first block is the one that matters most (RFC 2018 section 4).
 */
function endCutHeader(view: DataView, tcpAt: number): void {
  const offsetByte = view.getUint8(tcpAt + 12);
  view.setUint8(tcpAt + 12, ((MAX_RECORD_TCP_HEADER_BYTES >>> 2) << 4) | (offsetByte & 0x0f));
  const end = tcpAt + MAX_RECORD_TCP_HEADER_BYTES;
  let at = tcpAt + TCP_HEADER_BYTES;
  while (at < end) {
    const kind = view.getUint8(at);
    if (kind === TcpOptionKind.End) break;
    if (kind === TcpOptionKind.NoOperation) {
      at++;
      continue;
    }
    const optionBytes = at + 1 < end ? view.getUint8(at + 1) : end;
    if (optionBytes < 2) break;
    if (at + optionBytes > end) {
      const blocks = kind === TcpOptionKind.Sack ? (end - at - 2) >> 3 : 0;
      if (blocks > 0) {
        view.setUint8(at + 1, 2 + 8 * blocks);
        at += 2 + 8 * blocks;
      }
      break;
    }
    at += optionBytes;
  }
  for (; at < end; at++) view.setUint8(at, TcpOptionKind.End);
}
