/**
 * Names for what stands in front of the IP header of a captured packet: the link-layer header types
 * of libpcap (LINKTYPE_ and DLT_ values, https://www.tcpdump.org/linktypes.html). Pure.
 */

/** Link-layer header types that {@link Packet.parse} understands. */
export const LinkType = {
  /** 4 bytes of address family in the capturing machine's byte order (BSD loopback). */
  Null: 0,
  /** IEEE 802.3 Ethernet. */
  Ethernet: 1,
  /** No link header: DLT_RAW on most systems. */
  RawBsd: 12,
  /** No link header: DLT_RAW on OpenBSD. */
  RawOpenBsd: 14,
  /** No link header: LINKTYPE_RAW in capture files. */
  Raw: 101,
  /** 4 bytes of address family in network byte order (OpenBSD loopback). */
  Loop: 108,
  /** Linux "cooked" capture, 16-byte header. */
  LinuxSll: 113,
  /** No link header, IPv4 only. */
  Ipv4: 228,
  /** No link header, IPv6 only. */
  Ipv6: 229,
  /** Linux "cooked" capture version 2, 20-byte header. */
  LinuxSll2: 276,
} as const;

/** One of the values of {@link LinkType}. */
export type LinkType = typeof LinkType[keyof typeof LinkType];
