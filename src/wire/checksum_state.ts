/** Tells whether the TCP checksum of a packet over IPv4 is right. Pure. */

import { foldChecksum } from "./checksum.ts";
import { IP_PROTOCOL_TCP, tcpChecksumIpv4 } from "./ipv4.ts";
import type { Packet } from "./packet.ts";
import { TCP_CHECKSUM_OFFSET } from "./tcp.ts";

/** What a checksum says of its packet. */
export const ChecksumState = {
  /** It cannot be computed: not IPv4, or a part of the packet was not captured. */
  Unknown: 0,
  Right: 1,
  /**
   * The sum of the pseudo header alone, to be finished by the network card: so it stands in packets
   * that were captured before they left a host, or that the kernel has put together again.
   */
  Unfinished: 2,
  Wrong: 3,
} as const;
export type ChecksumState = typeof ChecksumState[keyof typeof ChecksumState];

/** Looks at the checksum of a parsed packet. */
export function checksumState(packet: Packet): ChecksumState {
  const { bytes, view, ipOffset, tcpOffset } = packet;
  if (packet.ipVersion !== 4 || packet.capturedPayloadLength < packet.payloadLength) {
    return ChecksumState.Unknown;
  }
  const length = packet.tcpHeaderLength + packet.payloadLength;
  const field = view.getUint16(tcpOffset + TCP_CHECKSUM_OFFSET);
  const { sourceAddress: from, destinationAddress: to } = packet;
  const pseudo = (from >>> 16) + (from & 0xffff) + (to >>> 16) + (to & 0xffff) + IP_PROTOCOL_TCP;
  // The cheap look first: it spares summing the large packets that offloads make.
  if (isSame(field, ~foldChecksum(pseudo + length) & 0xffff)) return ChecksumState.Unfinished;
  if (isSame(field, tcpChecksumIpv4(bytes, view, ipOffset, tcpOffset, length))) {
    return ChecksumState.Right;
  }
  // Some systems leave the length out, for cards that cut the segment themselves.
  return isSame(field, ~foldChecksum(pseudo) & 0xffff)
    ? ChecksumState.Unfinished
    : ChecksumState.Wrong;
}

/** In one's complement zero has two forms, and senders use either. */
function isSame(a: number, b: number): boolean {
  return a === b || (a % 0xffff === 0 && b % 0xffff === 0);
}
