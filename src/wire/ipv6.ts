/**
 * The IPv6 header and its extension headers (RFC 8200), as far as finding the TCP header behind them
 * needs it, and addresses as text (RFC 5952). Pure.
 */

/** Length of the fixed IPv6 header. */
export const IPV6_HEADER_BYTES = 40;

/** Next header values (IANA protocol numbers) that are walked over. */
export const Ipv6Extension = {
  HopByHop: 0,
  Routing: 43,
  Fragment: 44,
  Authentication: 51,
  DestinationOptions: 60,
} as const;

/** Whether a next header value names an extension header that can be walked over. */
export function isIpv6Extension(nextHeader: number): boolean {
  return nextHeader === Ipv6Extension.HopByHop || nextHeader === Ipv6Extension.Routing ||
    nextHeader === Ipv6Extension.Fragment || nextHeader === Ipv6Extension.Authentication ||
    nextHeader === Ipv6Extension.DestinationOptions;
}

/**
 * Length of an extension header in bytes.
 *
 * @param lengthField its second byte: units of 8 bytes without the first 8; for the authentication
 * header units of 4 bytes without the first 8 (RFC 4302); reserved in the fragment header
 */
export function ipv6ExtensionBytes(nextHeader: number, lengthField: number): number {
  if (nextHeader === Ipv6Extension.Fragment) return 8;
  if (nextHeader === Ipv6Extension.Authentication) return (lengthField + 2) << 2;
  return (lengthField + 1) << 3;
}

/**
 * Writes the 16 bytes at `offset` as an IPv6 address: lower case, no leading zeros, the longest run
 * of at least two zero groups as `::` (RFC 5952).
 *
 * @throws RangeError when fewer than 16 bytes are there
 */
export function formatIpv6(view: DataView, offset: number): string {
  const groups: number[] = [];
  for (let i = 0; i < 8; i++) groups.push(view.getUint16(offset + 2 * i));
  let runStart = -1;
  let runLength = 1;
  for (let i = 0; i < 8; i++) {
    let length = 0;
    while (i + length < 8 && groups[i + length] === 0) length++;
    if (length > runLength) {
      runStart = i;
      runLength = length;
    }
  }
  const hex = groups.map((group) => group.toString(16));
  if (runStart < 0) return hex.join(":");
  return `${hex.slice(0, runStart).join(":")}::${hex.slice(runStart + runLength).join(":")}`;
}
