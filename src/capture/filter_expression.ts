/**
 * Filter expressions in the language of pcap-filter(7), made from the destinations that are wanted.
 * Pure.
 */

import { formatIpv4 } from "../wire/ipv4.ts";
import { LinkType } from "../wire/link_type.ts";
import { VXLAN_PORTS } from "../wire/tunnel_headers.ts";
import type { CapturePair } from "./bpf.ts";

/** What the expression lets through besides plain packets for the destinations. */
export interface ExpressionOptions {
  /** Packets in GRE and IP in IP, all of them, and in VXLAN as far as can be told. */
  stripsTunnels: boolean;
  /** What the packets of the device begin with: a value of `LinkType`. */
  linkType: number;
}

/** SYN and ACK: the service accepts a client. */
const SYN_ACK = "0x12";

/**
 * Lets TCP packets over IPv4 for the destinations through, and their SYN-ACKs. The kernel takes the outer one of VLAN tags
 * off before a filter looks; behind it there may be another one on Ethernet.
 */
export function destinationExpression(
  pairs: readonly CapturePair[],
  options: ExpressionOptions,
): string {
  const plain = pairs.flatMap(({ address, port }) => {
    const isAny = address === undefined || address === 0;
    const host = (way: string) => isAny ? "ip" : `${way} host ${formatIpv4(address)}`;
    return [
      `${host("dst")} and tcp dst port ${port}`,
      `${host("src")} and tcp src port ${port} and tcp[13] & ${SYN_ACK} = ${SYN_ACK}`,
    ];
  });
  // Ports lie behind an IPv4 header of 20 bytes; packets with options are let through.
  const behind = (header: string, at: number) =>
    `(${header}[${at}] != 0x45 or ` +
    pairs.map(({ port }) =>
      `${header}[${at + 22}:2] = ${port} or ` +
      `(${header}[${at + 20}:2] = ${port} and ${header}[${at + 33}] & ${SYN_ACK} = ${SYN_ACK})`
    ).join(" or ") + ")";
  const isTcp = (header: string, at: number) => `${header}[${at + 9}] = 6`;
  const parts = [any(plain)];
  if (options.linkType === LinkType.Ethernet) {
    // A tag, then the type of what follows it.
    parts.push(
      `(ether[12:2] = 0x8100 or ether[12:2] = 0x88a8) and ether[16:2] = 0x0800 and ` +
        `${isTcp("ether", 18)} and ${behind("ether", 18)}`,
    );
  }
  if (options.stripsTunnels) {
    const isVxlan = any(VXLAN_PORTS.map((port) => `udp dst port ${port}`));
    // UDP and VXLAN header have 8 bytes each; the inner Ethernet type is at 28, its packet at 30.
    const inner = `udp[28:2] = 0x8100 or udp[28:2] = 0x88a8 or ` +
      `(udp[28:2] = 0x0800 and ${isTcp("udp", 30)} and ${behind("udp", 30)})`;
    parts.push(
      `ip and ${isVxlan} and (${inner})`,
      `ip6 and ${isVxlan}`,
      "ip proto 47",
      "ip6 proto 47",
      "ip proto 4",
      "ip6 proto 4",
    );
  }
  return any(parts);
}

function any(parts: readonly string[]): string {
  return parts.length === 1 ? parts[0] : `(${parts.map((part) => `(${part})`).join(" or ")})`;
}
