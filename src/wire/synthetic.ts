/**
 * Makes up packets of a client, where a recording has only data, or no beginning. Pure.
 */

import { IP_PROTOCOL_TCP, IPV4_HEADER_BYTES, writeIpv4Header } from "./ipv4.ts";
import { TCP_HEADER_BYTES, writeTcpChecksumIpv4, writeTcpHeader } from "./tcp.ts";
import { TcpFlag } from "./tcp_flags.ts";

/** The two ends of a connection, client first; addresses as int32. */
export interface ClientTuple {
  sourceAddress: number;
  sourcePort: number;
  destinationAddress: number;
  destinationPort: number;
}

/** MSS 1460, SACK permitted, window scale 7 (RFC 9293, 2018, 7323); three of padding. */
const SYN_OPTIONS = Uint8Array.of(2, 4, 0x05, 0xb4, 4, 2, 3, 3, 7, 1, 1, 1);
const SYN_HEADER_BYTES = TCP_HEADER_BYTES + SYN_OPTIONS.length;
/** Length of a made-up SYN. */
export const SYNTHETIC_SYN_BYTES = IPV4_HEADER_BYTES + SYN_HEADER_BYTES;
/** What a made-up segment has in front of its payload. */
export const SYNTHETIC_HEADER_BYTES = IPV4_HEADER_BYTES + TCP_HEADER_BYTES;
const TTL = 64;
const WINDOW = 65_535;

/** Writes a SYN of `SYNTHETIC_SYN_BYTES` at the front of `bytes`. */
export function writeSyntheticSyn(
  bytes: Uint8Array,
  view: DataView,
  tuple: ClientTuple,
  sequence: number,
): void {
  writeIp(view, SYNTHETIC_SYN_BYTES, tuple);
  const { sourcePort, destinationPort } = tuple;
  const at = IPV4_HEADER_BYTES;
  const flags = TcpFlag.Syn;
  writeTcpHeader(
    view,
    at,
    sourcePort,
    destinationPort,
    sequence,
    0,
    SYN_HEADER_BYTES,
    flags,
    WINDOW,
  );
  bytes.set(SYN_OPTIONS, at + TCP_HEADER_BYTES);
  writeTcpChecksumIpv4(bytes, view, 0, at, SYN_HEADER_BYTES);
}

/**
 * Writes the headers of a segment at the front of `bytes`, whose payload stands behind them already.
 *
 * @param payloadLength at most 65,495
 * @returns the length of the packet
 */
export function writeSyntheticSegment(
  bytes: Uint8Array,
  view: DataView,
  tuple: ClientTuple,
  sequence: number,
  acknowledgment: number,
  flags: number,
  payloadLength: number,
): number {
  const length = SYNTHETIC_HEADER_BYTES + payloadLength;
  writeIp(view, length, tuple);
  writeTcpHeader(
    view,
    IPV4_HEADER_BYTES,
    tuple.sourcePort,
    tuple.destinationPort,
    sequence,
    acknowledgment,
    TCP_HEADER_BYTES,
    flags,
    WINDOW,
  );
  const segmentLength = TCP_HEADER_BYTES + payloadLength;
  writeTcpChecksumIpv4(bytes, view, 0, IPV4_HEADER_BYTES, segmentLength);
  return length;
}

function writeIp(view: DataView, length: number, tuple: ClientTuple): void {
  const { sourceAddress, destinationAddress } = tuple;
  writeIpv4Header(view, 0, length, 0, TTL, IP_PROTOCOL_TCP, sourceAddress, destinationAddress);
}
