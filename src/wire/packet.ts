/**
 * A cursor over one captured packet: finds the IP and TCP headers and reads their fields in place.
 * Pure; allocates nothing per packet.
 *
 * Packets come from strangers. Whatever the bytes, offsets and lengths, parsing does not throw and
 * does not read a byte outside what was captured.
 */

import { ETHERNET_HEADER_BYTES, EtherType, isVlanTag, skipVlanTags } from "./ethernet.ts";
import { IP_PROTOCOL_TCP, IPV4_HEADER_BYTES } from "./ipv4.ts";
import { IPV6_HEADER_BYTES, Ipv6Extension, ipv6ExtensionBytes, isIpv6Extension } from "./ipv6.ts";
import { LinkType } from "./link_type.ts";
import {
  SLL2_HEADER_BYTES,
  SLL2_PROTOCOL_OFFSET,
  SLL_HEADER_BYTES,
  SLL_PROTOCOL_OFFSET,
} from "./linux_cooked.ts";
import { TCP_HEADER_BYTES } from "./tcp.ts";
import { Inside, TunnelHeaders } from "./tunnel_headers.ts";

/** What became of a packet handed to {@link Packet.parse}. */
export const ParseResult = {
  /** A TCP segment: every field of the cursor is valid. */
  Tcp: 0,
  /** Not IPv4 or IPv6. */
  NotIp: 1,
  /** IP, but not TCP. */
  NotTcp: 2,
  /** A fragment of an IP packet. */
  Fragment: 3,
  /** Headers that contradict themselves. */
  Malformed: 4,
  /** Headers cut off by the capture. */
  Truncated: 5,
  /** A link type this program does not know. */
  UnknownLink: 6,
} as const;

/** One of the values of {@link ParseResult}. */
export type ParseResult = typeof ParseResult[keyof typeof ParseResult];

const FRAGMENT_MASK = 0x3fff; // more fragments, and the fragment offset
const IPV6_FRAGMENT_MASK = 0xfff9; // the fragment offset, and more fragments
/** More extension headers than any real packet has. */
const MAX_IPV6_EXTENSIONS = 16;
/** More packets inside packets than any mirror makes. */
const MAX_TUNNELS = 4;

/**
 * One captured packet. The fields are valid after `parse` or `parseIp` returned `ParseResult.Tcp`
 * and as long as the bytes behind them are; after any other result they are left over from whatever
 * came before. All offsets count from the start of `bytes`.
 *
 * @example
 * ```ts
 * const packet = new Packet();
 * const bytes = new Uint8Array(60);
 * const view = new DataView(bytes.buffer);
 * bytes[0] = 0x45; // IPv4, header of 20 bytes
 * packet.parseIp(bytes, view, 0, 60); // ParseResult.NotTcp
 * ```
 */
export class Packet {
  /**
   * Whether TCP is also looked for inside VXLAN, GRE, ERSPAN and IP in IP; the fields are then those of
   * the inner packet. Default false.
   */
  stripsTunnels: boolean;
  /** What was handed to `parse`. */
  bytes: Uint8Array;
  /** The same memory as `bytes`. */
  view: DataView;
  /** 4 or 6. */
  ipVersion: 4 | 6;
  /** Where the IP header begins. */
  ipOffset: number;
  /** IP header with IPv4 options or IPv6 extension headers, bytes. */
  ipHeaderLength: number;
  /**
   * Whole IP packet in bytes as its header says. The kernel leaves the field 0 in packets too big
   * for it (BIG TCP); this is then what was captured.
   */
  ipTotalLength: number;
  /** IPv4 source, int32; 0 for IPv6. */
  sourceAddress: number;
  /** IPv4 destination, int32; 0 for IPv6. */
  destinationAddress: number;
  /** Time to live, or hop limit. */
  ttl: number;
  /** Where the TCP header begins. */
  tcpOffset: number;
  /** TCP header with options, bytes, 20..60. */
  tcpHeaderLength: number;
  sourcePort: number;
  destinationPort: number;
  /** Sequence number, int32. */
  sequence: number;
  /** Acknowledgment number, int32; means nothing without the ACK flag. */
  acknowledgment: number;
  /** Bits of {@link TcpFlag}. */
  flags: number;
  /** Window as in the header, unscaled. */
  window: number;
  /** Where the payload begins. */
  payloadOffset: number;
  /** Payload bytes on the wire. */
  payloadLength: number;
  /** Payload bytes that are in the buffer, 0..payloadLength. */
  capturedPayloadLength: number;

  readonly #inside = new TunnelHeaders();
  /** Tunnels the packet may still have around it. */
  #tunnelsLeft = 0;

  constructor() {
    this.stripsTunnels = false;
    this.bytes = new Uint8Array(0);
    this.view = new DataView(this.bytes.buffer);
    this.ipVersion = 4;
    this.ipOffset = 0;
    this.ipHeaderLength = 0;
    this.ipTotalLength = 0;
    this.sourceAddress = 0;
    this.destinationAddress = 0;
    this.ttl = 0;
    this.tcpOffset = 0;
    this.tcpHeaderLength = 0;
    this.sourcePort = 0;
    this.destinationPort = 0;
    this.sequence = 0;
    this.acknowledgment = 0;
    this.flags = 0;
    this.window = 0;
    this.payloadOffset = 0;
    this.payloadLength = 0;
    this.capturedPayloadLength = 0;
  }

  /**
   * Reads a packet that begins with the header of the given link type.
   *
   * @param linkType a value of {@link LinkType}
   * @param view the same memory as `bytes`
   * @param offset where the packet begins
   * @param capturedLength how many bytes of it are in the buffer
   */
  parse(
    linkType: number,
    bytes: Uint8Array,
    view: DataView,
    offset: number,
    capturedLength: number,
  ): ParseResult {
    if (!isRangeUsable(view, offset, capturedLength)) return ParseResult.Truncated;
    this.#tunnelsLeft = this.stripsTunnels ? MAX_TUNNELS : 0;
    const end = Math.min(offset + capturedLength, view.byteLength);
    switch (linkType) {
      case LinkType.Raw:
      case LinkType.RawBsd:
      case LinkType.RawOpenBsd:
        return this.#parseIp(bytes, view, offset, end);
      case LinkType.Ethernet:
        return this.#parseEtherType(bytes, view, offset + ETHERNET_HEADER_BYTES - 2, end);
      case LinkType.LinuxSll:
        if (offset + SLL_HEADER_BYTES > end) return ParseResult.Truncated;
        return this.#parseEtherType(bytes, view, offset + SLL_PROTOCOL_OFFSET, end);
      case LinkType.LinuxSll2:
        if (offset + SLL2_HEADER_BYTES > end) return ParseResult.Truncated;
        return this.#parseSll2(bytes, view, offset, end);
      case LinkType.Null:
      case LinkType.Loop:
        if (offset + 4 > end) return ParseResult.Truncated;
        return this.#parseFamily(bytes, view, offset, end);
      case LinkType.Ipv4:
        return this.#parseIpv4(bytes, view, offset, end);
      case LinkType.Ipv6:
        return this.#parseIpv6(bytes, view, offset, end);
      default:
        return ParseResult.UnknownLink;
    }
  }

  /** Reads a packet that begins with its IP header, as raw sockets give it. */
  parseIp(bytes: Uint8Array, view: DataView, offset: number, capturedLength: number): ParseResult {
    if (!isRangeUsable(view, offset, capturedLength)) return ParseResult.Truncated;
    this.#tunnelsLeft = this.stripsTunnels ? MAX_TUNNELS : 0;
    return this.#parseIp(bytes, view, offset, Math.min(offset + capturedLength, view.byteLength));
  }

  /** `at` is where an EtherType stands, with the packet or a VLAN tag behind it. */
  #parseEtherType(bytes: Uint8Array, view: DataView, at: number, end: number): ParseResult {
    const typeAt = skipVlanTags(view, at, end);
    if (typeAt < 0) return ParseResult.Truncated;
    const etherType = view.getUint16(typeAt);
    if (etherType === EtherType.Ipv4) return this.#parseIpv4(bytes, view, typeAt + 2, end);
    if (etherType === EtherType.Ipv6) return this.#parseIpv6(bytes, view, typeAt + 2, end);
    return ParseResult.NotIp;
  }

  /** The protocol stands at the front of this header, so tags are not adjacent to it. */
  #parseSll2(bytes: Uint8Array, view: DataView, offset: number, end: number): ParseResult {
    const etherType = view.getUint16(offset + SLL2_PROTOCOL_OFFSET);
    const behind = offset + SLL2_HEADER_BYTES;
    if (etherType === EtherType.Ipv4) return this.#parseIpv4(bytes, view, behind, end);
    if (etherType === EtherType.Ipv6) return this.#parseIpv6(bytes, view, behind, end);
    // Behind the header: tag control information, then the EtherType of what follows the tag.
    if (isVlanTag(etherType)) return this.#parseEtherType(bytes, view, behind + 2, end);
    return ParseResult.NotIp;
  }

  /**
   * The family number of IPv6 differs between systems, and its byte order between capturing
   * machines; the version in the IP header says the same with certainty, so the family only has to
   * look like one.
   */
  #parseFamily(bytes: Uint8Array, view: DataView, offset: number, end: number): ParseResult {
    const bigEndian = view.getInt32(offset);
    const littleEndian = view.getInt32(offset, true);
    if (!isIpFamily(bigEndian) && !isIpFamily(littleEndian)) return ParseResult.NotIp;
    return this.#parseIp(bytes, view, offset + 4, end);
  }

  #parseIp(bytes: Uint8Array, view: DataView, offset: number, end: number): ParseResult {
    if (offset >= end) return ParseResult.Truncated;
    const version = view.getUint8(offset) >>> 4;
    if (version === 4) return this.#parseIpv4(bytes, view, offset, end);
    if (version === 6) return this.#parseIpv6(bytes, view, offset, end);
    return ParseResult.NotIp;
  }

  #parseIpv4(bytes: Uint8Array, view: DataView, offset: number, end: number): ParseResult {
    if (offset + IPV4_HEADER_BYTES > end) return ParseResult.Truncated;
    const versionAndLength = view.getUint8(offset);
    if (versionAndLength >>> 4 !== 4) return ParseResult.Malformed;
    const headerLength = (versionAndLength & 0x0f) << 2;
    let totalLength = view.getUint16(offset + 2);
    if (totalLength === 0) totalLength = end - offset;
    if (headerLength < IPV4_HEADER_BYTES || totalLength < headerLength) {
      return ParseResult.Malformed;
    }
    const protocol = view.getUint8(offset + 9);
    if (protocol !== IP_PROTOCOL_TCP && this.#tunnelsLeft === 0) return ParseResult.NotTcp;
    if ((view.getUint16(offset + 6) & FRAGMENT_MASK) !== 0) return ParseResult.Fragment;
    if (protocol !== IP_PROTOCOL_TCP) {
      const ipEnd = Math.min(end, offset + totalLength);
      return this.#parseInside(bytes, view, protocol, offset + headerLength, ipEnd);
    }
    this.bytes = bytes;
    this.view = view;
    this.ipVersion = 4;
    this.ipOffset = offset;
    this.ipHeaderLength = headerLength;
    this.ipTotalLength = totalLength;
    this.ttl = view.getUint8(offset + 8);
    this.sourceAddress = view.getInt32(offset + 12);
    this.destinationAddress = view.getInt32(offset + 16);
    return this.#parseTcp(view, end);
  }

  #parseIpv6(bytes: Uint8Array, view: DataView, offset: number, end: number): ParseResult {
    if (offset + IPV6_HEADER_BYTES > end) return ParseResult.Truncated;
    if (view.getUint8(offset) >>> 4 !== 6) return ParseResult.Malformed;
    const payloadLength = view.getUint16(offset + 4);
    const totalLength = payloadLength === 0 ? end - offset : IPV6_HEADER_BYTES + payloadLength;
    let nextHeader = view.getUint8(offset + 6);
    let at = offset + IPV6_HEADER_BYTES;
    for (let walked = 0; nextHeader !== IP_PROTOCOL_TCP; walked++) {
      if (!isIpv6Extension(nextHeader)) {
        if (this.#tunnelsLeft === 0) return ParseResult.NotTcp;
        const ipEnd = Math.min(end, offset + totalLength);
        return this.#parseInside(bytes, view, nextHeader, at, ipEnd);
      }
      if (walked === MAX_IPV6_EXTENSIONS) return ParseResult.Malformed;
      if (at + 8 - offset > totalLength) return ParseResult.Malformed;
      if (at + 8 > end) return ParseResult.Truncated;
      const isFragment = nextHeader === Ipv6Extension.Fragment &&
        (view.getUint16(at + 2) & IPV6_FRAGMENT_MASK) !== 0;
      const extensionBytes = ipv6ExtensionBytes(nextHeader, view.getUint8(at + 1));
      nextHeader = view.getUint8(at);
      if (isFragment) {
        const mayBeTcp = nextHeader === IP_PROTOCOL_TCP || isIpv6Extension(nextHeader);
        return mayBeTcp ? ParseResult.Fragment : ParseResult.NotTcp;
      }
      at += extensionBytes;
    }
    this.bytes = bytes;
    this.view = view;
    this.ipVersion = 6;
    this.ipOffset = offset;
    this.ipHeaderLength = at - offset;
    this.ipTotalLength = totalLength;
    this.ttl = view.getUint8(offset + 7);
    this.sourceAddress = 0;
    this.destinationAddress = 0;
    return this.#parseTcp(view, end);
  }

  /** Takes one tunnel off, if there is one; `at` is behind the IP header, `end` the packet's end. */
  #parseInside(
    bytes: Uint8Array,
    view: DataView,
    protocol: number,
    at: number,
    end: number,
  ): ParseResult {
    this.#tunnelsLeft--;
    const inside = this.#inside;
    switch (inside.find(view, protocol, at, end)) {
      case Inside.Ethernet: {
        const typeAt = inside.offset + ETHERNET_HEADER_BYTES - 2;
        return this.#parseEtherType(bytes, view, typeAt, inside.end);
      }
      case Inside.Ip:
        return this.#parseIp(bytes, view, inside.offset, inside.end);
      case Inside.Malformed:
        return ParseResult.Malformed;
      case Inside.Truncated:
        return ParseResult.Truncated;
      default:
        return ParseResult.NotTcp;
    }
  }

  /** Reads the TCP header; the IP fields of the cursor are set, `end` is the end of the capture. */
  #parseTcp(view: DataView, end: number): ParseResult {
    const at = this.ipOffset + this.ipHeaderLength;
    const segmentLength = this.ipTotalLength - this.ipHeaderLength;
    if (segmentLength < TCP_HEADER_BYTES) return ParseResult.Malformed;
    if (at + TCP_HEADER_BYTES > end) return ParseResult.Truncated;
    const offsetAndFlags = view.getUint16(at + 12);
    const headerLength = (offsetAndFlags >>> 12) << 2;
    if (headerLength < TCP_HEADER_BYTES || headerLength > segmentLength) {
      return ParseResult.Malformed;
    }
    const payloadOffset = at + headerLength;
    if (payloadOffset > end) return ParseResult.Truncated;
    this.tcpOffset = at;
    this.tcpHeaderLength = headerLength;
    this.sourcePort = view.getUint16(at);
    this.destinationPort = view.getUint16(at + 2);
    this.sequence = view.getInt32(at + 4);
    this.acknowledgment = view.getInt32(at + 8);
    this.flags = offsetAndFlags & 0xff;
    this.window = view.getUint16(at + 14);
    this.payloadOffset = payloadOffset;
    this.payloadLength = segmentLength - headerLength;
    // Behind the packet there may be Ethernet padding; in front of its end the capture may stop.
    const present = end - payloadOffset;
    this.capturedPayloadLength = present < this.payloadLength ? present : this.payloadLength;
    return ParseResult.Tcp;
  }
}

/** Whether there is at least one byte to read; also false for NaN, fractions and negative numbers. */
function isRangeUsable(view: DataView, offset: number, capturedLength: number): boolean {
  return offset >= 0 && capturedLength > 0 && offset < view.byteLength &&
    (offset | 0) === offset && (capturedLength | 0) === capturedLength;
}

/** Address families of IPv4 (2 everywhere) and IPv6 (10 Linux, 24, 28 and 30 the BSDs). */
function isIpFamily(family: number): boolean {
  return family === 2 || family === 10 || family === 24 || family === 28 || family === 30;
}
