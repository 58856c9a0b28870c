/**
 * Ethernet framing: header layout, EtherTypes and the walk over VLAN tags. Pure.
 */

/** Length of an Ethernet II header: destination (6), source (6), EtherType (2). */
export const ETHERNET_HEADER_BYTES = 14;

/** Length of one VLAN tag: tag control information (2), EtherType of what follows (2). */
export const VLAN_TAG_BYTES = 4;

/** EtherTypes (IEEE 802 numbers) that matter to a capture of IP. */
export const EtherType = {
  Ipv4: 0x0800,
  Ipv6: 0x86dd,
  /** IEEE 802.1Q tag. */
  Vlan: 0x8100,
  /** IEEE 802.1ad service tag ("QinQ"). */
  ServiceVlan: 0x88a8,
  /** Service tag as used before 802.1ad was written. */
  OldServiceVlan: 0x9100,
} as const;

/** More tags than any network stacks; beyond this the frame is not looked at. */
const MAX_VLAN_TAGS = 8;

/** Whether an EtherType announces a VLAN tag. */
export function isVlanTag(etherType: number): boolean {
  return etherType === EtherType.Vlan || etherType === EtherType.ServiceVlan ||
    etherType === EtherType.OldServiceVlan;
}

/**
 * Skips VLAN tags.
 *
 * @param offset where the first EtherType field stands
 * @param end first byte that may not be read
 * @returns the offset of the EtherType field behind the last tag, -1 when the frame ends before it
 */
export function skipVlanTags(view: DataView, offset: number, end: number): number {
  let at = offset;
  for (let tags = 0; tags <= MAX_VLAN_TAGS; tags++) {
    if (at + 2 > end) return -1;
    if (!isVlanTag(view.getUint16(at))) return at;
    at += VLAN_TAG_BYTES;
  }
  return at + 2 > end ? -1 : at;
}

/**
 * Writes an Ethernet II header.
 *
 * @param destination six bytes of hardware address
 * @param source six bytes of hardware address
 */
export function writeEthernetHeader(
  bytes: Uint8Array,
  offset: number,
  destination: Uint8Array,
  source: Uint8Array,
  etherType: number,
): void {
  for (let i = 0; i < 6; i++) {
    bytes[offset + i] = destination[i];
    bytes[offset + 6 + i] = source[i];
  }
  bytes[offset + 12] = etherType >>> 8;
  bytes[offset + 13] = etherType & 0xff;
}
