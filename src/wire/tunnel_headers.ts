/**
 * Packets inside packets, as mirrored traffic comes: VXLAN (RFC 7348), GRE (RFC 2784, RFC 2890),
 * ERSPAN types I, II and III (draft-foschiano-erspan) and IP in IP (RFC 2003, RFC 4213). Pure.
 */

/** UDP ports of VXLAN: the assigned one, and the one Linux used before. */
export const VXLAN_PORTS: readonly number[] = [4789, 8472];

/** IP protocol numbers. */
export const IpProtocol = { Ipv4: 4, Udp: 17, Ipv6: 41, Gre: 47 } as const;

/** What was found behind an IP header. */
export const Inside = {
  /** Nothing that is taken apart here. */
  Other: 0,
  /** An Ethernet frame, at `offset`. */
  Ethernet: 1,
  /** An IP packet, at `offset`. */
  Ip: 2,
  /** Headers that contradict themselves. */
  Malformed: 3,
  /** Headers cut off by the capture. */
  Truncated: 4,
} as const;

/** One of the values of {@link Inside}. */
export type Inside = typeof Inside[keyof typeof Inside];

const UDP_HEADER_BYTES = 8;
const VXLAN_HEADER_BYTES = 8;
/** The flag that says there is a network identifier; all VXLAN has it. */
const VXLAN_IDENTIFIER_FLAG = 0x08;

const GRE_CHECKSUM = 0x8000;
const GRE_ROUTING = 0x4000;
const GRE_KEY = 0x2000;
const GRE_SEQUENCE = 0x1000;
const GRE_VERSION_MASK = 0x0007;
/** EtherTypes within GRE. */
const GRE_IPV4 = 0x0800;
const GRE_IPV6 = 0x86dd;
const GRE_ETHERNET = 0x6558;
const GRE_ERSPAN = 0x88be;
const GRE_ERSPAN_III = 0x22eb;

const ERSPAN_II_BYTES = 8;
const ERSPAN_III_BYTES = 12;
const ERSPAN_SUBHEADER_BYTES = 8;
/** Frame types of ERSPAN III. */
const ERSPAN_FRAME_ETHERNET = 0;
const ERSPAN_FRAME_IP = 2;

/** Finds what a packet carries; allocates nothing per packet. */
export class TunnelHeaders {
  /** Where the inner frame or packet begins. */
  offset = 0;
  /** First byte that is not its. */
  end = 0;

  /**
   * Looks behind an IP header.
   *
   * @param protocol from the IP header
   * @param at where what the IP header carries begins
   * @param end first byte that may not be read
   */
  find(view: DataView, protocol: number, at: number, end: number): Inside {
    this.offset = at;
    this.end = end;
    switch (protocol) {
      case IpProtocol.Ipv4:
      case IpProtocol.Ipv6:
        return Inside.Ip;
      case IpProtocol.Udp:
        return this.#findVxlan(view);
      case IpProtocol.Gre:
        return this.#findGre(view);
      default:
        return Inside.Other;
    }
  }

  #findVxlan(view: DataView): Inside {
    const at = this.offset;
    if (at + UDP_HEADER_BYTES > this.end) return Inside.Truncated;
    if (!VXLAN_PORTS.includes(view.getUint16(at + 2))) return Inside.Other;
    const udpBytes = view.getUint16(at + 4);
    const headerBytes = UDP_HEADER_BYTES + VXLAN_HEADER_BYTES;
    // The length is 0 in packets too long for the field.
    if (udpBytes !== 0 && udpBytes < headerBytes) return Inside.Malformed;
    if (at + headerBytes > this.end) return Inside.Truncated;
    if ((view.getUint8(at + UDP_HEADER_BYTES) & VXLAN_IDENTIFIER_FLAG) === 0) return Inside.Other;
    if (udpBytes !== 0) this.end = Math.min(this.end, at + udpBytes);
    this.offset = at + headerBytes;
    return Inside.Ethernet;
  }

  #findGre(view: DataView): Inside {
    if (this.offset + 4 > this.end) return Inside.Truncated;
    const flags = view.getUint16(this.offset);
    const protocol = view.getUint16(this.offset + 2);
    if ((flags & (GRE_VERSION_MASK | GRE_ROUTING)) !== 0) return Inside.Other;
    this.offset += 4 + (flags & GRE_CHECKSUM ? 4 : 0) + (flags & GRE_KEY ? 4 : 0) +
      (flags & GRE_SEQUENCE ? 4 : 0);
    switch (protocol) {
      case GRE_IPV4:
      case GRE_IPV6:
        return Inside.Ip;
      case GRE_ETHERNET:
        return Inside.Ethernet;
      case GRE_ERSPAN:
        // Type I has neither a sequence number nor a header of its own.
        if (flags & GRE_SEQUENCE) this.offset += ERSPAN_II_BYTES;
        return Inside.Ethernet;
      case GRE_ERSPAN_III:
        return this.#findErspanIii(view);
      default:
        return Inside.Other;
    }
  }

  #findErspanIii(view: DataView): Inside {
    if (this.offset + ERSPAN_III_BYTES > this.end) return Inside.Truncated;
    const typeAndOptions = view.getUint16(this.offset + 10);
    const hasSubheader = (typeAndOptions & 1) !== 0;
    const frameType = (typeAndOptions >>> 10) & 0x1f;
    this.offset += ERSPAN_III_BYTES + (hasSubheader ? ERSPAN_SUBHEADER_BYTES : 0);
    if (frameType === ERSPAN_FRAME_ETHERNET) return Inside.Ethernet;
    return frameType === ERSPAN_FRAME_IP ? Inside.Ip : Inside.Other;
  }
}
